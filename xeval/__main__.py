"""`python -m xeval` is the command `xeval`."""

from xeval.cli import main

main()
