//! Machines that lose power, come back, or lose touch; containers that end; an API server that is down.
