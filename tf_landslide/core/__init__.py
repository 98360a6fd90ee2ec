"""The ground floor: errors, files, progress, tables, threads. Imports nothing of ours."""
