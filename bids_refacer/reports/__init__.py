"""Pages that people look at before they read: of a participant and of a group. Never nipype, never torch."""
