"""Packets to connections as conntrack sees them, joined across NAT and interfaces.

::

    frames/      which interface, which way, whole       keys         what stays the same, hashed
    crossings    two sights of one packet                masqueraded  answers to what NAT hid
    pairs        who talks with whom, across NAT         cut_quotes   whose error it is
    labels       NEW, ESTABLISHED, INVALID, ...          conntrack    the rules of that; tcp_window
    host         the host around them                    fold/        all that, while files are read

Terminology. A *frame* is what a tap saw. A *sight* is one tap's frame of a packet. A *crossing* is
one packet on its way past the host, with the sights that there are of it: coming in, leaving, or
both. An *endpoint* is an address and a port (:mod:`correlator.endpoints`). A *pair* is two
endpoints, as the client called itself and as the server calls itself, wherever NAT rewrote either;
its *forward* direction goes from the lower one to the higher. A *connection* is one of those that a
pair has one after the other, each with an *original* direction. A *label* is what conntrack calls
one packet. What is *ordinary* was seen coming in and leaving, packet for packet, from the one that
opened it; everything else is looked at packet by packet."""
