"""What people look at: tables, and pages of HTML. Nothing here knows how a number came about."""
