# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The model: vit.py, mt5.py, and pali.py which joins them."""
