"""Helpers of the notebooks, shown once and read in one sitting."""
