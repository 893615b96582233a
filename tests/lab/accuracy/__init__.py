"""How often the product is right: random networks, rules and traffic, recorded with plain tools and
held against the kernel's own trace of every packet.

``python -m tests.lab.accuracy`` draws cases from seeds (:mod:`.drawing`), records each
(:mod:`.recording`), scores it row by row in several variations of what a user may have saved
(:mod:`.variations`, :mod:`.score`) and prints one table. Needs root, Linux, iptables-nft."""
