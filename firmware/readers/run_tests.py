"""Runs the tests of a folder and prints how many there were; none at all is a failure, and so is a warning."""

import sys
import unittest

tests = unittest.defaultTestLoader.discover(sys.argv[1])
result = unittest.TextTestRunner(stream=sys.stderr, warnings="error").run(tests)
print(result.testsRun)
sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
