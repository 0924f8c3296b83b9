-- Takes away postbacks of Apple's that are past retention, 500 at once; what anybody can make goes after 14 days. $1 retention in
-- seconds. An identifier is held for 60 days at least: Apple's third window closes on day 35, a postback may then wait 6 days, and a
-- device tries for 9. Indexes: received_at; verdict and received_at of what is doubtful.
with kept as (
  select clock_timestamp() - greatest($1::float8 * interval '1 s', interval '60 days') as verified,
         clock_timestamp() - least($1::float8 * interval '1 s', interval '14 days') as doubtful),
old as (
  (select p.id from postback.apple_postback p, kept where p.received_at < kept.verified order by p.received_at limit 500)
  union
  (select p.id from postback.apple_postback p, kept, unnest(array['verified', 'invalid', 'unverifiable']) v(verdict)
    where (p.verdict <> 'verified' or p.environment = 'development') and p.verdict = v.verdict and p.received_at < kept.doubtful limit 500)),
count as (delete from postback.apple_count c using kept where c.day < kept.verified::date),
-- A batch comes again as long as its process lives and has no answer, which is minutes.
writer as (delete from postback.apple_writer w where w.at < clock_timestamp() - interval '14 days')
delete from postback.apple_postback p using old where p.id = old.id
