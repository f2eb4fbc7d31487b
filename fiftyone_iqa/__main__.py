"""Lets ``python -m fiftyone_iqa`` run the ``fiftyone-iqa`` command."""

from fiftyone_iqa.cli import main

raise SystemExit(main())
