# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m pali` is the `pali` command."""

import sys

from pali.cli import main

if __name__ == "__main__":
    sys.exit(main())
