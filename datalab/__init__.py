"""The SSP Cloud on one machine: an S3 store over HTTPS, a 7-day token, PostgreSQL.

The command line is ``python -m datalab``; programs use :func:`datalab.lab.temporary`.
"""
