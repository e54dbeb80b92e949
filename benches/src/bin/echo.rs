//! Wall time of one echo on the fabric, for `benches/peers.sh`.
//!
//! `echo PAIRS ROUND_TRIPS [IDLE_CONNECTIONS]` prints what idle connections cost (none by default), the virtual round
//! trip, and as its last line wall nanoseconds per round trip.

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut number = |default| arguments.next().map_or(default, |number| number.expect("a number"));
    let (pairs, rounds, idle) = (number(100), number(1_000), number(0));
    if idle > 0 {
        println!(
            "{idle} idle connections, both ends: {} KiB",
            hopwise_benches::echo::idle_connections_kib(idle)
        );
    }
    let echo = hopwise_benches::echo::round_trips(pairs, rounds);
    println!(
        "{pairs} pairs x {rounds} round trips of {:?} of virtual time; wall ns per round trip:",
        echo.round_trip
    );
    println!("{}", echo.wall.as_nanos() / u128::from(pairs * rounds));
}
