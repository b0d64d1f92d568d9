"""The city's file: a GeoPackage in SQLite, its tables, and what each of them keeps."""
