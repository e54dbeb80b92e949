//! kube-proxies that stop or lag.
