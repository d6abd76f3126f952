"""Every metric there is, each with a sentence. A panel or an alert may name only what stands here.

One prefix `crossdock_`, base units, `_total` and `_seconds` as Prometheus wants it, no unbounded label (a channel, a
processor, a topic: yes; a SKU, an order: never).
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

# --- the door and the polls
events_ingested = Counter("crossdock_events_ingested", "Records appended to a raw topic", ["channel", "stream"])
ingest_refused = Counter("crossdock_ingest_refused", "Requests the door did not append", ["channel", "status"])
append_seconds = Histogram("crossdock_append_seconds", "From the verified request to Kafka's acknowledgement", buckets=SECONDS)
freshness_seconds = Gauge("crossdock_freshness_seconds", "Age of the newest position a poll has passed", ["channel", "stream"])
connector_state = Gauge("crossdock_connector_state", "1 for the state a channel's connector is in", ["channel", "state"])

# --- the streams
events_processed = Counter("crossdock_events_processed", "Input records a processor has finished", ["processor"])
events_dead = Counter("crossdock_events_dead", "Records that became dead letters", ["channel", "reason"])
batch_seconds = Histogram("crossdock_batch_seconds", "From consuming a batch to its commit", ["processor"], buckets=SECONDS)
commit_seconds = Histogram("crossdock_commit_seconds", "Sending offsets and committing one transaction", ["processor"], buckets=SECONDS)
transactions = Counter("crossdock_transactions", "Transactions by outcome", ["processor", "outcome"])
consumer_lag = Gauge("kafka_consumergroup_lag", "Committed records not yet processed", ["consumergroup", "topic", "partition"])
consumer_lag_seconds = Gauge("crossdock_consumer_lag_seconds", "Age of the oldest record not yet processed", ["consumergroup", "topic", "partition"])
column_still_seconds = Gauge("crossdock_column_still_seconds", "Since a column with something to do last came forward", ["processor", "column"])
open_transaction_seconds = Gauge("crossdock_open_transaction_seconds", "How long the last stable offset has stood still", ["topic", "partition"])
hanging_transactions = Gauge("crossdock_hanging_transactions", "Partitions held up by a transaction that nobody ends", ["processor"])
restore_seconds = Gauge("crossdock_restore_seconds", "Duration of the last restore", ["processor"])
restore_progress_ratio = Gauge("crossdock_restore_progress_ratio", "How much of the state has been read back, 1 when none is being read", ["processor"])
restored_keys = Gauge("crossdock_restored_keys", "State records held in memory", ["processor"])
columns = Gauge("crossdock_columns", "Columns of a processor by phase", ["processor", "phase"])
places_read = Gauge("crossdock_places", "Places that another system counts, by what is known of them", ["state"])
observed_differences = Gauge("crossdock_observed_differences", "Numbers that a system which does not count the place lastingly gives otherwise", ["channel"])
stock_shortage_units = Gauge("crossdock_stock_shortage_units", "Units promised and not there")

# --- delivery
sink_writes = Counter("crossdock_sink_writes", "Writes to a channel by result", ["channel", "sink", "result"])
end_to_end_seconds = Histogram("crossdock_end_to_end_seconds", "From the channel's event to a sink's acknowledgement", ["channel"], buckets=SECONDS)
ratelimit_wait_seconds = Counter("crossdock_ratelimit_wait_seconds", "Time spent waiting for a channel's limit", ["channel"])
deliver_held_back = Gauge("crossdock_deliver_held_back", "Listings whose 0 waits for a person's word", ["channel"])
facts_told = Counter("crossdock_facts_told", "Facts told to a system that counts a place, by result", ["channel", "result"])
facts_waiting = Gauge("crossdock_facts_waiting", "Facts that a system which counts a place has yet to be told of", ["channel"])
stock_drift = Counter("crossdock_stock_drift", "Numbers in a channel that nobody can explain, by what they look like", ["channel", "kind"])
put_right = Counter("crossdock_deliver_put_right", "Findings in a channel after which it was told the right number again", ["channel"])

# --- store, supervision
audit_differences = Gauge("crossdock_audit_differences", "Numbers of the hub's own that disagree with each other, 0 when all is well", ["kind"])
audit_checked = Counter("crossdock_audit_checked", "Records that the auditor has compared")
store_rows = Counter("crossdock_store_rows", "Rows written to the SQL store", ["table"])
part_restarts = Counter("crossdock_part_restarts", "Times a part was started again", ["part"])
