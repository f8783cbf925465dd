"""What people look at: every view shows one `RunSnapshot`."""
