# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records, per-example functions and the Grain pipeline; everything but seqio_bridge TF-free."""
