//! AF_XDP sockets with a UMEM shared by ports and queues.
