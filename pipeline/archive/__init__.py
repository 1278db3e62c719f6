"""One image into one store, and the upkeep of many stores: plan, write, seal, verify, repair."""
