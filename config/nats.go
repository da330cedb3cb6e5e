package config

// checkExposed refuses an address of the embedded NATS server that other
// machines can reach without credentials: they could push to every client and
// read every message.
func (n *NATS) checkExposed(k *checks) {
	mutual := n.TLS.CA != "" && n.TLS.Cert != "" // then clients and routes must show a certificate
	const exposed = "%s can be reached from other machines, which could then push to every client; set %s, or listen at a loopback address (127.0.0.1:port)"
	if n.Listen != "" && !Loopback(n.Listen) && n.User == "" && n.Token == "" && !mutual {
		k.fail("nats.listen", exposed, n.Listen, "nats.user and nats.password, or nats.token, or nats.tls.ca with nats.tls.cert and nats.tls.key")
	}
	if n.ClusterListen != "" && !Loopback(n.ClusterListen) && n.ClusterUser == "" && !mutual {
		k.fail("nats.cluster_listen", exposed, n.ClusterListen,
			"nats.cluster_user and nats.cluster_password, the same at every node, or nats.tls.ca with nats.tls.cert and nats.tls.key")
	}
}

// checkAdvertise checks the address that other nodes get for
// nats.cluster_listen.
func (n *NATS) checkAdvertise(k *checks) {
	switch {
	case n.ClusterAdvertise == "":
	case n.ClusterListen == "":
		k.fail("nats.cluster_advertise", "is the address of nats.cluster_listen for other nodes; set nats.cluster_listen too")
	default:
		k.when("nats.cluster_advertise", checkURL(n.ClusterAdvertise))
	}
}
