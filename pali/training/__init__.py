# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What stands around the steps of pali/train.py: its workdir, its reports, its interruptions."""
