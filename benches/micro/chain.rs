//! From a service's name to one of its endpoints, and what a change of the services costs a shard.

use divan::{Bencher, black_box};
use mesher::balance::{Balancer, Tried};
use mesher::handler::{Call, Chain, Decision, Invocation, SERVED};
use mesher_actors::snapshot::Strategy;

use super::services::{Shard, snapshot};

/// The default chain, router, loadbalance and transport, by the number of endpoints.
#[divan::bench(args = [1, 10, 1000])]
fn routed(bencher: Bencher<'_, '_>, endpoints: usize) {
    let shard = Shard::new(&snapshot(100, endpoints, 0));
    let mut chain = Chain::new(SERVED);
    bencher.bench_local(|| {
        let mut call = Call::default();
        let (service, directory) = (black_box("service-42"), &shard.directory);
        let decision =
            chain.on_request(0, &mut Invocation { call: &mut call, service, directory, random: 1 });
        assert!(matches!(decision, Decision::Forward));
        call
    });
}

/// One choice by each strategy, by the number of endpoints.
#[divan::bench(args = [1, 10, 1000])]
fn picked_in_turn(bencher: Bencher<'_, '_>, endpoints: usize) {
    pick(bencher, Strategy::RoundRobin, endpoints);
}

#[divan::bench(args = [1, 10, 1000])]
fn picked_at_random(bencher: Bencher<'_, '_>, endpoints: usize) {
    pick(bencher, Strategy::Random, endpoints);
}

fn pick(bencher: Bencher<'_, '_>, strategy: Strategy, endpoints: usize) {
    let mut balancer = Balancer::new(strategy, 0);
    let mut random = 0_u64;
    bencher.bench_local(|| {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        balancer.pick(black_box(endpoints), &Tried::default(), random)
    });
}

/// A publication in which so many of 1000 services of ten endpoints are new, without the sockets' part in it.
#[divan::bench(args = [1, 1000])]
fn applied_snapshot(bencher: Bencher<'_, '_>, changed: usize) {
    let snapshots = [snapshot(1000, 10, changed), snapshot(1000, 10, changed)];
    let mut shard = Shard::new(&snapshots[0]);
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = 1 - turn;
        shard.apply(&snapshots[turn], &snapshots[turn].changed);
    });
}
