"""What turns given resources into nodes with slots: pure, environment mapping and settings in, values out."""
