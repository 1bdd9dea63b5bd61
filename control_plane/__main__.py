"""`python -m control_plane` is the `slipway` command."""

from control_plane.cli import main

main()
