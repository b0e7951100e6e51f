"""A STAC catalogue on S3 that follows a bucket: images come and go, their items with them.

Read the modules in this order: ``messages`` (what the store tells), ``images`` (from an
object to a STAC item), ``storage`` (the catalogue on S3), ``consumer`` (the broker).
``python -m catalogue --help`` lists the commands.
"""
