"""
The extension C{recon}: what the process is busy with, and where its memory is (spec/hooks-modules-sys.md 11).
"""
