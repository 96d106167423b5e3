"""Parts of pages: verdict cards, the list of participants, slices that scroll, figures as files."""
