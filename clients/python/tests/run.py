"""Runs the unit tests, and closes with "N passed, N failed"."""

import pathlib
import sys
import unittest

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here))
suite = unittest.defaultTestLoader.discover(str(here))
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0, warnings="error").run(suite)
bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
print(f"{result.testsRun - bad} passed, {bad} failed")
sys.exit(bad != 0 or result.testsRun == 0)
