"""The SSP Cloud on one machine: an S3 store over HTTPS, a 7-day token, PostgreSQL.

The command line is ``python -m datalab``, or ``datalab`` where the package is installed;
programs use :func:`datalab.lab.temporary`, tests the fixture of :mod:`datalab.pytest_plugin`.
"""
