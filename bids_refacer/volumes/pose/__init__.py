"""How a head is turned: found by comparing it with the average head, and its brain with the average brain."""
