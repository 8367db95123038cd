//! The deciding process of tohub: IKE, dead peer detection, preferred peer.
