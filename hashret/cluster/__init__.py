"""Many shards on Ray, each an ordinary index, asked and written to as one."""
