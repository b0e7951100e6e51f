"""The SSP Cloud on one machine: MinIO over HTTPS, a 7-day token, PostgreSQL.

The command line is ``python -m datalab``; programs use :func:`datalab.lab.temporary`.
"""
