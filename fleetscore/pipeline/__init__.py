"""The steps of a run. Each may run twice and does its work once. `local` runs them in order: read it first.

A step stands at the left, with what it uses for itself indented below.

    submit              the run that is asked for, or the one that is there already
        window_checks, named_partitions, partition_names, kept_versions, budget
    context             what every later step opens first: workload, settings, window, pins
    prepare             what is computed once per input file, before planning
    plan                partitions into shards, and each shard inline or on Batch
        absent, spellings           which partitions are expected, under which names
        carry_over, copied_rows     what a further round keeps
        packing, placement, capacity, cost
        preview                     the same without writing anything
    score, train        one shard, committed once
        marked_groups, attempt_marker, poison, isolation, attempt_limit     one bad partition costs no other
        hashing_file, shadow, shard_telemetry, training_entry
    offload             shards on Batch, watched until each is committed or given up
        offload_decisions, offload_usage
    collect             the ledger: one outcome for every expected partition
        ledger, drift, profiles, run_events, partition_log
    finish              the end of the run, whatever it is
        publish, held, lost_results, publish_anyway
        rates, run_cost, tags       what the run taught and cost

Beside runs, `score_rows` answers mini-batches, which `warm_rows` has models opened for.
"""
