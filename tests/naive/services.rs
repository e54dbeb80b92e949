//! Points 13 to 21, 24 and 25: Services, kube-proxy and load balancers.
