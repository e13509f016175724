/** OceanBase's functions for the PostgreSQL behind the double; every time is of UTC and without a zone. */
export const functions = `
create schema ob;
create view ob.dual as select 'X'::text as dummy;
create function ob.clock() returns timestamp language sql volatile as $$ select clock_timestamp() at time zone 'UTC' $$;
create function ob.now(int) returns timestamp language sql volatile as
  $$ select case when $1 = 0 then date_trunc('second', ob.clock()) else ob.clock() end $$;
create function ob.systimestamp() returns timestamp language sql volatile as $$ select ob.clock() $$;
create type ob.oradate as (at timestamp);
create function ob.to_oradate(timestamp) returns ob.oradate language sql as
  $$ select row(date_trunc('second', $1))::ob.oradate $$;
create cast (timestamp as ob.oradate) with function ob.to_oradate(timestamp) as implicit;
create function ob.sysdate() returns ob.oradate language sql volatile as $$ select ob.to_oradate(ob.clock()) $$;
create function ob.days(ob.oradate, ob.oradate) returns numeric language sql as
  $$ select extract(epoch from $1.at - $2.at)::numeric / 86400 $$;
create operator ob.- (leftarg = ob.oradate, rightarg = ob.oradate, function = ob.days);
create function ob.to_char(bigint) returns text language sql as $$ select $1::text $$;
create function ob.to_char(numeric) returns text language sql as $$ select $1::text $$;
create function ob.to_char(text) returns text language sql as $$ select $1 $$;
create function ob.to_char(ob.oradate, text) returns text language sql as $$ select pg_catalog.to_char($1.at, $2) $$;
create function ob.to_number(text) returns numeric language sql as $$ select $1::numeric $$;
create function ob.sys_extract_utc(timestamp) returns timestamp language sql as $$ select $1 $$;
create function ob.nvl(anycompatible, anycompatible) returns anycompatible language sql as $$ select coalesce($1, $2) $$;
create function ob.ifnull(anycompatible, anycompatible) returns anycompatible language sql as $$ select coalesce($1, $2) $$;
create function ob."if"(boolean, anycompatible, anycompatible) returns anycompatible language sql as
  $$ select case when $1 then $2 else $3 end $$;
create function ob.timestampdiff(text, timestamp, timestamp) returns bigint language sql as $$
  select trunc(extract(epoch from $3 - $2) * case $1 when 'MICROSECOND' then 1000000 else 1 end
    / case $1 when 'MINUTE' then 60 when 'HOUR' then 3600 when 'DAY' then 86400 else 1 end)::bigint $$;
create function ob.unix_timestamp() returns bigint language sql volatile as
  $$ select trunc(extract(epoch from clock_timestamp()))::bigint $$;
create function ob.unix_timestamp(timestamp) returns numeric language sql as $$ select extract(epoch from $1) $$;
create function ob.date_format(timestamp, text) returns text language sql as $$
  select pg_catalog.to_char($1, replace(replace(replace(replace(replace(replace(replace($2, '%Y', 'YYYY'), '%m', 'MM'),
    '%d', 'DD'), '%H', 'HH24'), '%i', 'MI'), '%s', 'SS'), '%f', 'US')) $$;
create function ob.sleep(numeric) returns int language plpgsql volatile as
  $$ begin perform pg_sleep($1::float8); return 0; end $$;
create function ob.try_lock(kind int, name text, seconds numeric) returns boolean language plpgsql volatile as $$
  declare until timestamptz := clock_timestamp() + make_interval(secs => greatest(seconds, 0)::float8);
  begin
    loop
      if pg_try_advisory_lock(kind, hashtext(name)) then return true; end if;
      if clock_timestamp() >= until then return false; end if;
      perform pg_sleep(0.02);
    end loop;
  end $$;
create function ob.lock_holder(kind int, name text) returns bigint language sql volatile as $$
  select max(case when application_name ~ '^[0-9]+$' then application_name::bigint end)
    from pg_locks join pg_stat_activity using (pid)
   where locktype = 'advisory' and classid = kind and objid::bigint = (hashtext(name)::bigint & 4294967295) and granted $$;
create function ob.get_lock(text, numeric) returns int language sql volatile as $$ select ob.try_lock(1, $1, $2)::int $$;
create function ob.release_lock(text) returns int language sql volatile as $$
  select case when ob.lock_holder(1, $1) is null then null
              when ob.lock_holder(1, $1)::text <> current_setting('application_name') then 0
              else pg_advisory_unlock(1, hashtext($1))::int end $$;
create function ob.is_used_lock(text) returns bigint language sql volatile as $$ select ob.lock_holder(1, $1) $$;
create function ob.is_free_lock(text) returns int language sql volatile as $$ select (ob.lock_holder(1, $1) is null)::int $$;
create function ob.dbms_lock_request(text, int, numeric) returns int language sql volatile as $$
  select case when ob.lock_holder(2, $1)::text = current_setting('application_name') then 4
              when ob.try_lock(2, $1, $3) then 0 else 1 end $$;
create function ob.dbms_lock_request(bigint, int, numeric) returns int language sql volatile as
  $$ select ob.dbms_lock_request($1::text, $2, $3) $$;
create function ob.dbms_lock_release(text) returns int language sql volatile as $$
  select case when ob.lock_holder(2, $1)::text is distinct from current_setting('application_name') then 4
              else (not pg_advisory_unlock(2, hashtext($1)))::int end $$;
create function ob.dbms_lock_release(bigint) returns int language sql volatile as
  $$ select ob.dbms_lock_release($1::text) $$;
`;
