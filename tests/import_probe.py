"""Which libraries a piece of code imports, in a process of its own."""

import subprocess
import sys

HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "numba", "matplotlib")


def imported(code: str, *modules: str) -> list[str]:
    tail = f"sys.stderr.write('\\n' + ' '.join(m for m in {modules} if m in sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{tail}"], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    return out.stderr.rsplit("\n", 1)[1].split()
