CREATE TABLE alerts (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	kind TEXT NOT NULL,
	subject TEXT NOT NULL,
	reason TEXT NOT NULL,
	env TEXT,
	job TEXT,
	context_id UUID,
	run_id UUID,
	detail JSONB DEFAULT '{}'::jsonb NOT NULL,
	rev BIGINT DEFAULT 0 NOT NULL,
	opened_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	told_at TIMESTAMP WITH TIME ZONE,
	closed_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_alerts PRIMARY KEY (id)
);

CREATE INDEX ix_alerts_list ON alerts (opened_at, id);

CREATE UNIQUE INDEX uq_alerts_open ON alerts (kind, subject) WHERE closed_at IS NULL;

CREATE TABLE attempts (
	run_id UUID NOT NULL,
	grant_no BIGINT NOT NULL,
	attempt BIGINT,
	status TEXT NOT NULL,
	worker TEXT NOT NULL,
	incarnation UUID NOT NULL,
	host TEXT NOT NULL,
	boot_id TEXT NOT NULL,
	claim_id UUID NOT NULL,
	beat BIGINT DEFAULT 0 NOT NULL,
	claimed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	launching_at TIMESTAMP WITH TIME ZONE,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	exit_code INTEGER,
	signal INTEGER,
	reason TEXT,
	pid BIGINT,
	progress JSONB,
	log JSONB,
	open BOOLEAN DEFAULT true NOT NULL,
	CONSTRAINT pk_attempts PRIMARY KEY (run_id, grant_no)
);

CREATE INDEX ix_attempts_claim ON attempts (claim_id);

CREATE INDEX ix_attempts_open ON attempts (incarnation) WHERE open;

CREATE TABLE backfills (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	context_id UUID NOT NULL,
	job TEXT NOT NULL,
	env TEXT NOT NULL,
	namespace TEXT NOT NULL,
	schedules JSONB NOT NULL,
	range_from TIMESTAMP WITH TIME ZONE NOT NULL,
	range_to TIMESTAMP WITH TIME ZONE NOT NULL,
	newest_first BOOLEAN DEFAULT false NOT NULL,
	existing TEXT DEFAULT 'leave' NOT NULL,
	rerun BOOLEAN DEFAULT false NOT NULL,
	concurrency INTEGER DEFAULT 1 NOT NULL,
	state TEXT DEFAULT 'running' NOT NULL,
	reason TEXT,
	total BIGINT NOT NULL,
	made BIGINT DEFAULT 0 NOT NULL,
	left_alone BIGINT DEFAULT 0 NOT NULL,
	position TIMESTAMP WITH TIME ZONE,
	exhausted BOOLEAN DEFAULT false NOT NULL,
	requested_by TEXT NOT NULL,
	changed_by TEXT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	ended_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_backfills PRIMARY KEY (id),
	CONSTRAINT ck_backfills_state CHECK (state IN ('running', 'paused', 'cancelled', 'done')),
	CONSTRAINT ck_backfills_existing CHECK (existing IN ('leave', 'failed', 'anew')),
	CONSTRAINT ck_backfills_range CHECK (range_from < range_to),
	CONSTRAINT ck_backfills_concurrency CHECK (concurrency > 0)
);

CREATE INDEX ix_backfills_open ON backfills (created_at) WHERE state = 'running';

CREATE TABLE environments (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	topic_prefix TEXT NOT NULL,
	kafka_bootstrap_servers TEXT,
	paused BOOLEAN DEFAULT false NOT NULL,
	pause_reason TEXT,
	paused_by TEXT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_environments PRIMARY KEY (id),
	CONSTRAINT uq_environments_name UNIQUE (name)
);

CREATE TABLE idempotency_keys (
	principal TEXT NOT NULL,
	key TEXT NOT NULL,
	request_hash TEXT NOT NULL,
	status INTEGER,
	body JSONB,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (principal, key)
);

CREATE TABLE jobs (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	type TEXT NOT NULL,
	namespace TEXT DEFAULT 'default' NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	labels JSONB DEFAULT '{}'::jsonb NOT NULL,
	"group" TEXT,
	exclusive BOOLEAN,
	kafka TEXT DEFAULT 'default' NOT NULL,
	policies JSONB DEFAULT '{}'::jsonb NOT NULL,
	paused BOOLEAN DEFAULT false NOT NULL,
	pause_reason TEXT,
	paused_by TEXT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_jobs PRIMARY KEY (id),
	CONSTRAINT ck_jobs_type CHECK (type IN ('scheduled', 'daemon')),
	CONSTRAINT uq_jobs_name UNIQUE (name)
);

CREATE TABLE leader (
	one BOOLEAN DEFAULT true NOT NULL,
	epoch BIGINT DEFAULT 0 NOT NULL,
	holder UUID,
	name TEXT,
	lease_until TIMESTAMP WITH TIME ZONE,
	since TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_leader PRIMARY KEY (one),
	CONSTRAINT ck_leader_one CHECK (one)
);

CREATE TABLE limits (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	places BIGINT NOT NULL,
	key TEXT,
	description TEXT DEFAULT '' NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_limits PRIMARY KEY (id),
	CONSTRAINT uq_limits_name UNIQUE (name),
	CONSTRAINT ck_limits_places CHECK (places >= 0)
);

CREATE TABLE locks (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	package_name TEXT NOT NULL,
	package_version TEXT NOT NULL,
	status TEXT DEFAULT 'wanted' NOT NULL,
	lock_text TEXT,
	requires_python TEXT,
	error TEXT,
	tries BIGINT DEFAULT 0 NOT NULL,
	claimed_by TEXT,
	not_before TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	claimed_until TIMESTAMP WITH TIME ZONE,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	resolved_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_locks PRIMARY KEY (id),
	CONSTRAINT uq_locks_package_name_package_version UNIQUE (package_name, package_version),
	CONSTRAINT ck_locks_status CHECK (status IN ('wanted', 'claimed', 'ready', 'failed'))
);

CREATE TABLE log_pointers (
	run_id UUID NOT NULL,
	grant_no BIGINT NOT NULL,
	first_seq BIGINT NOT NULL,
	last_seq BIGINT NOT NULL,
	topic TEXT NOT NULL,
	partition INTEGER NOT NULL,
	first_offset BIGINT NOT NULL,
	last_offset BIGINT NOT NULL,
	first_line BIGINT NOT NULL,
	lines BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	digest TEXT NOT NULL,
	complete BOOLEAN DEFAULT false NOT NULL,
	first_at TIMESTAMP WITH TIME ZONE NOT NULL,
	last_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT pk_log_pointers PRIMARY KEY (run_id, grant_no, first_seq)
);

CREATE INDEX ix_log_pointers_offset ON log_pointers (partition, last_offset);

CREATE TABLE notification_groups (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	emails JSONB DEFAULT '[]'::jsonb NOT NULL,
	webhooks JSONB DEFAULT '[]'::jsonb NOT NULL,
	suite_alerts BOOLEAN DEFAULT false NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_notification_groups PRIMARY KEY (id),
	CONSTRAINT uq_notification_groups_name UNIQUE (name)
);

CREATE TABLE lineage_edges (
	env TEXT NOT NULL,
	job TEXT NOT NULL,
	version TEXT NOT NULL,
	direction TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	told_by TEXT DEFAULT '' NOT NULL,
	count BIGINT DEFAULT 0 NOT NULL,
	facts JSONB DEFAULT '{}'::jsonb NOT NULL,
	first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
	last_seen TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT pk_lineage_edges PRIMARY KEY (env, job, version, direction, kind, name, told_by)
);

CREATE TABLE lineage_joins (
	trace BYTEA NOT NULL,
	topic TEXT NOT NULL,
	partition INTEGER NOT NULL,
	from_offset BIGINT NOT NULL,
	to_offset BIGINT NOT NULL,
	process BYTEA NOT NULL,
	at_ms BIGINT NOT NULL,
	CONSTRAINT pk_lineage_joins PRIMARY KEY (trace, topic, partition, from_offset)
);

CREATE INDEX ix_lineage_joins_input ON lineage_joins (topic, partition, to_offset);

CREATE TABLE lineage_processes (
	process BYTEA NOT NULL,
	reads TEXT NOT NULL,
	job TEXT NOT NULL,
	env TEXT NOT NULL,
	package TEXT NOT NULL,
	version TEXT NOT NULL,
	run_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	slot TEXT NOT NULL,
	host TEXT NOT NULL,
	pid BIGINT NOT NULL,
	program TEXT NOT NULL,
	rerun BOOLEAN NOT NULL,
	at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT pk_lineage_processes PRIMARY KEY (process)
);

CREATE INDEX ix_lineage_processes_reads ON lineage_processes (reads, at);

CREATE TABLE lineage_spans (
	id BIGSERIAL NOT NULL,
	process BYTEA NOT NULL,
	reads TEXT,
	direction TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	partition INTEGER NOT NULL,
	from_offset BIGINT NOT NULL,
	to_offset BIGINT NOT NULL,
	count BIGINT NOT NULL,
	since_ms BIGINT NOT NULL,
	until_ms BIGINT NOT NULL,
	CONSTRAINT pk_lineage_spans PRIMARY KEY (id)
);

CREATE INDEX ix_lineage_spans_input ON lineage_spans (reads, partition, to_offset);

CREATE INDEX ix_lineage_spans_process ON lineage_spans (process, until_ms);

CREATE INDEX ix_lineage_spans_until_ms ON lineage_spans (until_ms);

CREATE TABLE outbox (
	id BIGSERIAL NOT NULL,
	topic TEXT NOT NULL,
	key TEXT NOT NULL,
	value BYTEA,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_outbox PRIMARY KEY (id)
);

CREATE TABLE recorder_offsets (
	topic TEXT NOT NULL,
	partition INTEGER NOT NULL,
	next_offset BIGINT NOT NULL,
	holder UUID,
	CONSTRAINT pk_recorder_offsets PRIMARY KEY (topic, partition)
);

CREATE TABLE revisions (
	id BIGSERIAL NOT NULL,
	kind TEXT NOT NULL,
	entity_id TEXT NOT NULL,
	rev BIGINT NOT NULL,
	action TEXT NOT NULL,
	value JSONB,
	author TEXT NOT NULL,
	at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_revisions PRIMARY KEY (id)
);

CREATE INDEX ix_revisions_entity ON revisions (kind, entity_id, id);

CREATE TABLE rewinds (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	context_id UUID NOT NULL,
	job TEXT NOT NULL,
	env TEXT NOT NULL,
	namespace TEXT NOT NULL,
	target TEXT NOT NULL,
	group_name TEXT NOT NULL,
	kafka_bootstrap_servers TEXT,
	range_from TIMESTAMP WITH TIME ZONE NOT NULL,
	range_to TIMESTAMP WITH TIME ZONE,
	parts JSONB DEFAULT '[]'::jsonb NOT NULL,
	positions JSONB DEFAULT '{}'::jsonb NOT NULL,
	total BIGINT DEFAULT 0 NOT NULL,
	done BIGINT DEFAULT 0 NOT NULL,
	rate DOUBLE PRECISION,
	mode TEXT DEFAULT 'in-place' NOT NULL,
	prefix TEXT DEFAULT '' NOT NULL,
	outputs JSONB DEFAULT '[]'::jsonb NOT NULL,
	run_id UUID,
	runs INTEGER DEFAULT 0 NOT NULL,
	comparison JSONB,
	state TEXT DEFAULT 'draining' NOT NULL,
	wanted TEXT DEFAULT 'run' NOT NULL,
	placed BOOLEAN DEFAULT false NOT NULL,
	reason TEXT,
	requested_by TEXT NOT NULL,
	changed_by TEXT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	drained_at TIMESTAMP WITH TIME ZONE,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_rewinds PRIMARY KEY (id),
	CONSTRAINT ck_rewinds_state CHECK (state IN ('draining', 'running', 'paused', 'comparing', 'ready', 'promoting', 'dropping', 'done', 'promoted', 'dropped', 'cancelled', 'failed')),
	CONSTRAINT ck_rewinds_mode CHECK (mode IN ('in-place', 'shadow')),
	CONSTRAINT ck_rewinds_wanted CHECK (wanted IN ('run', 'pause', 'cancel'))
);

CREATE INDEX ix_rewinds_list ON rewinds (created_at, id);

CREATE UNIQUE INDEX uq_rewinds_open ON rewinds (context_id) WHERE state IN ('draining', 'running', 'paused');

CREATE TABLE rules_gate (
	one BOOLEAN DEFAULT true NOT NULL,
	rev BIGINT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_rules_gate PRIMARY KEY (one),
	CONSTRAINT ck_rules_gate_one CHECK (one)
);

CREATE TABLE run_keys (
	run_id UUID NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_run_keys PRIMARY KEY (run_id)
);

CREATE TABLE runs (
	id UUID NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	status TEXT NOT NULL,
	kind TEXT NOT NULL,
	key TEXT NOT NULL,
	context_id UUID NOT NULL,
	job_id UUID NOT NULL,
	environment_id UUID NOT NULL,
	job TEXT NOT NULL,
	env TEXT NOT NULL,
	namespace TEXT NOT NULL,
	labels JSONB DEFAULT '{}'::jsonb NOT NULL,
	pool TEXT DEFAULT 'default' NOT NULL,
	priority BIGINT DEFAULT 0 NOT NULL,
	script_id UUID,
	lock_id UUID,
	package_name TEXT NOT NULL,
	package_version TEXT NOT NULL,
	entry TEXT,
	args JSONB DEFAULT '[]'::jsonb NOT NULL,
	variables JSONB DEFAULT '{}'::jsonb NOT NULL,
	policies JSONB DEFAULT '{}'::jsonb NOT NULL,
	due_at TIMESTAMP WITH TIME ZONE,
	fire_at TIMESTAMP WITH TIME ZONE NOT NULL,
	startable_at TIMESTAMP WITH TIME ZONE,
	deadline_at TIMESTAMP WITH TIME ZONE,
	waits_for TEXT,
	let_go_at TIMESTAMP WITH TIME ZONE,
	range_to TIMESTAMP WITH TIME ZONE,
	range_count BIGINT,
	rerun BOOLEAN DEFAULT false NOT NULL,
	backfill_id UUID,
	held BOOLEAN DEFAULT false NOT NULL,
	grant_no BIGINT DEFAULT 0 NOT NULL,
	attempt BIGINT DEFAULT 0 NOT NULL,
	failed_preparations BIGINT DEFAULT 0 NOT NULL,
	worker TEXT,
	incarnation UUID,
	claim_id UUID,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	exit_code INTEGER,
	signal INTEGER,
	reason TEXT,
	requested_by TEXT,
	parent_run_id UUID,
	occasion TEXT,
	kill_why TEXT,
	kill_by TEXT,
	slot INTEGER,
	generation BIGINT,
	missed_told BOOLEAN DEFAULT false NOT NULL,
	unfenced BOOLEAN DEFAULT false NOT NULL,
	log JSONB,
	CONSTRAINT pk_runs PRIMARY KEY (id, created_at),
	CONSTRAINT ck_runs_status CHECK (status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING','RETRYING','SUCCEEDED','FAILED','KILLED','LOST','MISSED','SKIPPED','CANCELLED'))
)
 PARTITION BY RANGE (created_at);

CREATE INDEX ix_runs_backfill ON runs (backfill_id) WHERE backfill_id IS NOT NULL;

CREATE INDEX ix_runs_claimable ON runs (fire_at) WHERE status = 'PENDING';

CREATE INDEX ix_runs_due ON runs (context_id, due_at) WHERE due_at IS NOT NULL;

CREATE INDEX ix_runs_context ON runs (context_id, fire_at);

CREATE INDEX ix_runs_daemons ON runs (id) WHERE kind = 'daemon' AND status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING');

CREATE INDEX ix_runs_id ON runs (id);

CREATE INDEX ix_runs_job ON runs (job, env, created_at);

CREATE INDEX ix_runs_let_go ON runs (let_go_at) WHERE status IN ('PENDING','CLAIMED') AND let_go_at IS NOT NULL;

CREATE INDEX ix_runs_list ON runs (created_at, id);

CREATE INDEX ix_runs_live ON runs (context_id, status) WHERE status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING','RETRYING','LOST');

CREATE INDEX ix_runs_ranges ON runs (context_id, range_to) WHERE kind = 'range';

CREATE INDEX ix_runs_untold ON runs (context_id) WHERE status = 'MISSED' AND NOT missed_told;

CREATE INDEX ix_runs_occasion ON runs (context_id, occasion) WHERE occasion IS NOT NULL;

CREATE INDEX ix_runs_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL;

CREATE INDEX ix_runs_started ON runs (status) WHERE status IN ('LAUNCHING','RUNNING');

CREATE INDEX ix_runs_unfenced ON runs (ended_at) WHERE status = 'LOST' AND unfenced;

CREATE INDEX ix_runs_waiting ON runs (waits_for, fire_at) WHERE status = 'PENDING' AND waits_for IS NOT NULL;

CREATE TABLE schedule_exceptions (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	scope TEXT NOT NULL,
	scope_ref TEXT NOT NULL,
	effect TEXT DEFAULT 'pause' NOT NULL,
	every_nth BIGINT,
	cron TEXT,
	start TIMESTAMP WITH TIME ZONE NOT NULL,
	"end" TIMESTAMP WITH TIME ZONE,
	recurrence TEXT,
	lasts_ms BIGINT,
	tz TEXT DEFAULT 'UTC' NOT NULL,
	reason TEXT NOT NULL,
	author TEXT NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_schedule_exceptions PRIMARY KEY (id),
	CONSTRAINT ck_schedule_exceptions_scope CHECK (scope IN ('job', 'context', 'label', 'schedule', 'environment')),
	CONSTRAINT ck_schedule_exceptions_effect CHECK (effect IN ('pause', 'slow')),
	CONSTRAINT ck_schedule_exceptions_window CHECK ("end" IS NULL OR "end" > start),
	CONSTRAINT ck_schedule_exceptions_recurrence CHECK ((recurrence IS NULL) = (lasts_ms IS NULL)),
	CONSTRAINT ck_schedule_exceptions_slow CHECK ((effect = 'slow') = (num_nonnulls(every_nth, cron) = 1))
);

CREATE INDEX ix_schedule_exceptions_on ON schedule_exceptions (scope, scope_ref);

CREATE TABLE schedules (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	expr TEXT,
	tz TEXT DEFAULT 'UTC' NOT NULL,
	dst TEXT DEFAULT 'debian' NOT NULL,
	every_ms BIGINT,
	anchor TIMESTAMP WITH TIME ZONE,
	at TIMESTAMP WITH TIME ZONE,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_schedules PRIMARY KEY (id),
	CONSTRAINT ck_schedules_kind CHECK (kind IN ('cron', 'every', 'at')),
	CONSTRAINT ck_schedules_shape CHECK ((kind = 'cron') = (expr IS NOT NULL) AND (kind = 'every') = (every_ms IS NOT NULL) AND (kind = 'at') = (at IS NOT NULL)),
	CONSTRAINT uq_schedules_name UNIQUE (name)
);

CREATE TABLE scripts (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	package_name TEXT NOT NULL,
	package_version TEXT NOT NULL,
	entry TEXT,
	first_seen TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	last_seen TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	CONSTRAINT pk_scripts PRIMARY KEY (id),
	CONSTRAINT uq_scripts_package_name_package_version_entry UNIQUE NULLS NOT DISTINCT (package_name, package_version, entry)
);

CREATE TABLE settings (
	name TEXT NOT NULL,
	value JSONB NOT NULL,
	CONSTRAINT pk_settings PRIMARY KEY (name)
);

CREATE TABLE state_keys (
	topic TEXT NOT NULL,
	key TEXT COLLATE "C" NOT NULL,
	partition INTEGER NOT NULL,
	version BIGINT NOT NULL,
	last_offset BIGINT NOT NULL,
	value_offset BIGINT,
	recent JSONB DEFAULT '[]'::jsonb NOT NULL,
	CONSTRAINT pk_state_keys PRIMARY KEY (topic, key)
);

CREATE INDEX ix_state_keys_offset ON state_keys (topic, partition, last_offset);

CREATE TABLE state_logs (
	topic TEXT NOT NULL,
	prefix TEXT NOT NULL,
	name TEXT NOT NULL,
	partitions INTEGER NOT NULL,
	owned BOOLEAN DEFAULT false NOT NULL,
	problem TEXT,
	CONSTRAINT pk_state_logs PRIMARY KEY (topic)
);

CREATE TABLE state_offsets (
	topic TEXT NOT NULL,
	partition INTEGER NOT NULL,
	next_offset BIGINT DEFAULT 0 NOT NULL,
	told_offset BIGINT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_state_offsets PRIMARY KEY (topic, partition)
);

CREATE TABLE state_versions (
	topic TEXT NOT NULL,
	key TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	partition INTEGER NOT NULL,
	"offset" BIGINT NOT NULL,
	op TEXT NOT NULL,
	restores BIGINT,
	value BYTEA,
	content_type TEXT,
	stored BOOLEAN DEFAULT false NOT NULL,
	at TIMESTAMP WITH TIME ZONE NOT NULL,
	by TEXT NOT NULL,
	run TEXT,
	grant_no BIGINT,
	rerun BOOLEAN DEFAULT false NOT NULL,
	inputs JSONB DEFAULT '[]'::jsonb NOT NULL,
	CONSTRAINT pk_state_versions PRIMARY KEY (topic, key, version)
);

CREATE TABLE topics (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	fresh_within_ms BIGINT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_topics PRIMARY KEY (id),
	CONSTRAINT uq_topics_name UNIQUE (name)
);

CREATE TABLE users (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	name TEXT NOT NULL,
	password_hash TEXT,
	role TEXT DEFAULT 'viewer' NOT NULL,
	disabled BOOLEAN DEFAULT false NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_users PRIMARY KEY (id),
	CONSTRAINT uq_users_name UNIQUE (name)
);

CREATE TABLE worker_tokens (
	token_hash TEXT NOT NULL,
	name TEXT NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	created_by TEXT NOT NULL,
	CONSTRAINT pk_worker_tokens PRIMARY KEY (token_hash)
);

CREATE TABLE workers (
	name TEXT NOT NULL,
	incarnation UUID NOT NULL,
	boot_id TEXT NOT NULL,
	home_id UUID NOT NULL,
	host TEXT NOT NULL,
	pool TEXT NOT NULL,
	labels JSONB DEFAULT '{}'::jsonb NOT NULL,
	places BIGINT NOT NULL,
	version TEXT NOT NULL,
	platform TEXT NOT NULL,
	python TEXT NOT NULL,
	beat BIGINT DEFAULT 0 NOT NULL,
	last_beat_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	max_beat_gap_ms DOUBLE PRECISION DEFAULT 0 NOT NULL,
	since TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	draining BOOLEAN DEFAULT false NOT NULL,
	gone BOOLEAN DEFAULT false NOT NULL,
	usage JSONB DEFAULT '{}'::jsonb NOT NULL,
	CONSTRAINT pk_workers PRIMARY KEY (name)
);

CREATE TABLE api_tokens (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	token_hash TEXT NOT NULL,
	user_id UUID NOT NULL,
	label TEXT DEFAULT '' NOT NULL,
	kind TEXT DEFAULT 'api' NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	expires_at TIMESTAMP WITH TIME ZONE,
	last_used_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT pk_api_tokens PRIMARY KEY (id),
	CONSTRAINT ck_api_tokens_kind CHECK (kind IN ('api', 'login_link')),
	CONSTRAINT uq_api_tokens_token_hash UNIQUE (token_hash),
	CONSTRAINT fk_api_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE contexts (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	job_id UUID NOT NULL,
	environment_id UUID NOT NULL,
	script_id UUID,
	state TEXT DEFAULT 'disabled' NOT NULL,
	state_reason TEXT,
	paused BOOLEAN DEFAULT false NOT NULL,
	pause_reason TEXT,
	paused_by TEXT,
	replicas BIGINT DEFAULT 1 NOT NULL,
	per_worker BOOLEAN DEFAULT false NOT NULL,
	pool TEXT DEFAULT 'default' NOT NULL,
	args JSONB DEFAULT '[]'::jsonb NOT NULL,
	policies JSONB DEFAULT '{}'::jsonb NOT NULL,
	horizon TIMESTAMP WITH TIME ZONE,
	next_due_at TIMESTAMP WITH TIME ZONE,
	held BOOLEAN DEFAULT false NOT NULL,
	set_aside TEXT,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_contexts PRIMARY KEY (id),
	CONSTRAINT uq_contexts_job_id_environment_id UNIQUE (job_id, environment_id),
	CONSTRAINT ck_contexts_state CHECK (state IN ('enabled', 'enabling', 'disabled')),
	CONSTRAINT fk_contexts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id),
	CONSTRAINT fk_contexts_environment_id FOREIGN KEY(environment_id) REFERENCES environments (id),
	CONSTRAINT fk_contexts_script_id FOREIGN KEY(script_id) REFERENCES scripts (id)
);

CREATE INDEX ix_contexts_due ON contexts (next_due_at) WHERE state = 'enabled';

CREATE TABLE script_topics (
	script_id UUID NOT NULL,
	topic_id UUID NOT NULL,
	direction TEXT NOT NULL,
	last_seen TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_script_topics PRIMARY KEY (script_id, topic_id, direction),
	CONSTRAINT ck_script_topics_direction CHECK (direction IN ('source', 'destination')),
	CONSTRAINT fk_script_topics_script_id FOREIGN KEY(script_id) REFERENCES scripts (id) ON DELETE CASCADE,
	CONSTRAINT fk_script_topics_topic_id FOREIGN KEY(topic_id) REFERENCES topics (id) ON DELETE CASCADE
);

CREATE TABLE sessions (
	id_hash TEXT NOT NULL,
	user_id UUID NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT pk_sessions PRIMARY KEY (id_hash),
	CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE role_bindings (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	user_id UUID NOT NULL,
	role TEXT NOT NULL,
	env TEXT DEFAULT '*' NOT NULL,
	namespace TEXT DEFAULT '*' NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	created_by TEXT NOT NULL,
	CONSTRAINT pk_role_bindings PRIMARY KEY (id),
	CONSTRAINT uq_role_bindings_user_id_role_env_namespace UNIQUE (user_id, role, env, namespace),
	CONSTRAINT fk_role_bindings_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE config_keys (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	scope TEXT NOT NULL,
	job_id UUID,
	context_id UUID,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_config_keys PRIMARY KEY (id),
	CONSTRAINT uq_config_keys_name_job_id_context_id UNIQUE NULLS NOT DISTINCT (name, job_id, context_id),
	CONSTRAINT ck_config_keys_scope CHECK ((scope = 'global' AND job_id IS NULL AND context_id IS NULL) OR (scope = 'job' AND job_id IS NOT NULL AND context_id IS NULL) OR (scope = 'context' AND job_id IS NULL AND context_id IS NOT NULL)),
	CONSTRAINT fk_config_keys_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
	CONSTRAINT fk_config_keys_context_id FOREIGN KEY(context_id) REFERENCES contexts (id) ON DELETE CASCADE
);

CREATE TABLE context_schedules (
	context_id UUID NOT NULL,
	schedule_id UUID NOT NULL,
	CONSTRAINT pk_context_schedules PRIMARY KEY (context_id, schedule_id),
	CONSTRAINT fk_context_schedules_context_id FOREIGN KEY(context_id) REFERENCES contexts (id) ON DELETE CASCADE,
	CONSTRAINT fk_context_schedules_schedule_id FOREIGN KEY(schedule_id) REFERENCES schedules (id)
);

CREATE TABLE job_predecessors (
	job_id UUID NOT NULL,
	predecessor_id UUID NOT NULL,
	"on" TEXT NOT NULL,
	CONSTRAINT pk_job_predecessors PRIMARY KEY (job_id, predecessor_id),
	CONSTRAINT fk_job_predecessors_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
	CONSTRAINT fk_job_predecessors_predecessor_id_jobs FOREIGN KEY(predecessor_id) REFERENCES jobs (id),
	CONSTRAINT ck_job_predecessors_on CHECK ("on" IN ('success', 'failure', 'done'))
);

CREATE INDEX ix_job_predecessors_predecessor ON job_predecessors (predecessor_id);

CREATE TABLE daemon_slots (
	context_id UUID NOT NULL,
	slot INTEGER NOT NULL,
	generation BIGINT DEFAULT 0 NOT NULL,
	state TEXT DEFAULT 'WANTED' NOT NULL,
	wanted BOOLEAN DEFAULT true NOT NULL,
	run_id UUID,
	script_id UUID,
	worker TEXT,
	settings TEXT,
	old_run_id UUID,
	crashes BIGINT DEFAULT 0 NOT NULL,
	restarts BIGINT DEFAULT 0 NOT NULL,
	not_before TIMESTAMP WITH TIME ZONE,
	up_since TIMESTAMP WITH TIME ZONE,
	renew BOOLEAN DEFAULT false NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	CONSTRAINT pk_daemon_slots PRIMARY KEY (context_id, slot),
	CONSTRAINT ck_daemon_slots_state CHECK (state IN ('WANTED','STARTING','UP','BACKOFF','CRASH_LOOPING','DRAINING','FINISHED','DOWN')),
	CONSTRAINT fk_daemon_slots_context_id FOREIGN KEY(context_id) REFERENCES contexts (id) ON DELETE CASCADE
);

CREATE TABLE daemon_progress (
	context_id UUID NOT NULL,
	group_name TEXT NOT NULL,
	offsets JSONB DEFAULT '{}'::jsonb NOT NULL,
	lag BIGINT NOT NULL,
	moved_at TIMESTAMP WITH TIME ZONE NOT NULL,
	sampled_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT pk_daemon_progress PRIMARY KEY (context_id),
	CONSTRAINT fk_daemon_progress_context_id FOREIGN KEY(context_id) REFERENCES contexts (id) ON DELETE CASCADE
);

CREATE TABLE notifications (
	id UUID DEFAULT gen_random_uuid() NOT NULL,
	context_id UUID NOT NULL,
	group_id UUID NOT NULL,
	on_failure BOOLEAN DEFAULT true NOT NULL,
	on_retry BOOLEAN DEFAULT false NOT NULL,
	rev BIGINT DEFAULT 1 NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT pk_notifications PRIMARY KEY (id),
	CONSTRAINT uq_notifications_context_id_group_id UNIQUE (context_id, group_id),
	CONSTRAINT fk_notifications_context_id FOREIGN KEY(context_id) REFERENCES contexts (id) ON DELETE CASCADE,
	CONSTRAINT fk_notifications_group_id FOREIGN KEY(group_id) REFERENCES notification_groups (id) ON DELETE CASCADE
);

CREATE TABLE runs_default PARTITION OF runs DEFAULT;

INSERT INTO leader (one) VALUES (true);

INSERT INTO rules_gate (one) VALUES (true);
