-- The first session on a new timeline (a promoted standby, a point-in-time recovery): writes the timeline down and how far a
-- process may have come whose last marks did not make it here. $1 timeline. One statement; concurrent ones take turns at the
-- identity row, and the second finds nothing left to do. The epochs rise, so that nothing of an old session goes on.
-- Where a destination was up to date (its next entry is not ten minutes older than the last write that made it here), every
-- event is in doubt, also one whose place in the stream was lost; where it was behind, the next 5,000 entries are: what a lost
-- process has sent at most between its last replicated mark and its end. What waits in `pending` is in doubt if it was due.
with me as (
  update postback.identity set timeline = $1, at = clock_timestamp(), by = session_user
   where timeline is distinct from $1 and set_config('synchronous_commit', 'on', true) is not null
  returning 1),
begun as (
  select greatest(i.last_at, (select max(p.at) from postback.position p)) - interval '10 minutes' as long_ago, (select max(e.id) from postback.event e) as newest
    from postback.ingest i, me)
update postback.position p
   set epoch = nextval('postback.epoch_seq'), lost_at = clock_timestamp(),
       lost_event = greatest(p.lost_event,
         case when (select n.at from postback.log n where n.seq > p.seq order by n.seq limit 1) < begun.long_ago
              then (select max(l.event) from postback.log l where l.seq > p.seq and l.seq <= greatest(p.horizon, p.seq + 5000))
              else begun.newest end,
         (select max(w.event) from postback.pending w where w.destination = p.destination))
  from begun
returning p.destination
