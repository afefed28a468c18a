# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Public benchmarks: their raw files, what is asked, how answers are scored and handed in.

Neither JAX nor TensorFlow is needed, and no picture. registry.py has all by name;
docs/benchmarks.md tells of each where its files come from, and what cannot be reproduced.
"""
