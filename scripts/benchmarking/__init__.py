"""What the benchmarks of the search share: code sets, peers, timing, tables and plots."""
