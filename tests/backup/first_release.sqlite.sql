-- The schema of migration 0001 on SQLite with some rows.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE api_keys (
	id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	prefix VARCHAR(16) NOT NULL, 
	key_hash VARCHAR(64) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	last_used_at DATETIME, 
	revoked_at DATETIME, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT fk_api_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash)
);
CREATE TABLE dead_letters (
	id VARCHAR(36) NOT NULL, 
	task_id VARCHAR(36) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	queue VARCHAR(32) NOT NULL, 
	reason VARCHAR(64) NOT NULL, 
	error TEXT NOT NULL, 
	traceback TEXT, 
	attempt INTEGER NOT NULL, 
	failed_at DATETIME NOT NULL, 
	requeued_at DATETIME, 
	CONSTRAINT pk_dead_letters PRIMARY KEY (id), 
	CONSTRAINT fk_dead_letters_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "dead_letters" VALUES('0193f000-0000-7000-8000-000000000201','0193f000-0000-7000-8000-000000000101','summary','inference','attempts','The page did not answer',NULL,5,'2026-01-02 03:07:00.000000',NULL);
CREATE TABLE idempotency_keys (
	owner_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(200) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	status INTEGER, 
	body TEXT, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (owner_id, "key")
);
CREATE TABLE leases (
	name VARCHAR(64) NOT NULL, 
	holder VARCHAR(64) NOT NULL, 
	until DOUBLE NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (name)
);
CREATE TABLE login_sessions (
	id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	token_hash VARCHAR(64), 
	created_at DATETIME NOT NULL, 
	last_seen_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	ip VARCHAR(64), 
	user_agent TEXT NOT NULL, 
	revoked_at DATETIME, 
	CONSTRAINT pk_login_sessions PRIMARY KEY (id), 
	CONSTRAINT fk_login_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_login_sessions_token_hash UNIQUE (token_hash)
);
CREATE TABLE refresh_tokens (
	id VARCHAR(36) NOT NULL, 
	family VARCHAR(36) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	token_hash VARCHAR(64) NOT NULL, 
	expires_at DATETIME NOT NULL, 
	used_at DATETIME, 
	CONSTRAINT pk_refresh_tokens PRIMARY KEY (id), 
	CONSTRAINT fk_refresh_tokens_family FOREIGN KEY(family) REFERENCES login_sessions (id) ON DELETE CASCADE, 
	CONSTRAINT fk_refresh_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_refresh_tokens_token_hash UNIQUE (token_hash)
);
CREATE TABLE schedules (
	id VARCHAR(36) NOT NULL, 
	owner_id VARCHAR(36), 
	name VARCHAR(100) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	params JSON NOT NULL, 
	cron VARCHAR(100), 
	interval DOUBLE, 
	enabled BOOLEAN NOT NULL, 
	next_at DOUBLE, 
	last_at DOUBLE, 
	last_task_id VARCHAR(36), 
	CONSTRAINT pk_schedules PRIMARY KEY (id), 
	CONSTRAINT fk_schedules_owner_id FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_schedules_name UNIQUE (name)
);
CREATE TABLE task_events (
	task_id VARCHAR(36) NOT NULL, 
	seq BIGINT NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	level VARCHAR(8) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	progress INTEGER NOT NULL, 
	message TEXT NOT NULL, 
	data JSON, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_task_events PRIMARY KEY (task_id, seq), 
	CONSTRAINT fk_task_events_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000100',1,'status','info','completed',0,'Accepted',NULL,'2026-01-02 03:04:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000100',2,'status','info','completed',0,'completed',NULL,'2026-01-02 03:04:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000101',1,'status','info','failed',0,'Accepted',NULL,'2026-01-02 03:05:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000101',2,'status','info','failed',0,'failed',NULL,'2026-01-02 03:05:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000102',1,'status','info','queued',0,'Accepted',NULL,'2026-01-02 03:06:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000102',2,'status','info','queued',0,'queued',NULL,'2026-01-02 03:06:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000103',1,'status','info','running',0,'Accepted',NULL,'2026-01-02 03:07:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000103',2,'status','info','running',0,'running',NULL,'2026-01-02 03:07:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000104',1,'status','info','cancelled',0,'Accepted',NULL,'2026-01-02 03:08:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000104',2,'status','info','cancelled',0,'cancelled',NULL,'2026-01-02 03:08:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000105',1,'status','info','retrying',0,'Accepted',NULL,'2026-01-02 03:09:00.000000');
INSERT INTO "task_events" VALUES('0193f000-0000-7000-8000-000000000105',2,'status','info','retrying',0,'retrying',NULL,'2026-01-02 03:09:00.000000');
CREATE TABLE tasks (
	id VARCHAR(36) NOT NULL, 
	owner_id VARCHAR(36), 
	kind VARCHAR(64) NOT NULL, 
	title VARCHAR(300) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	queue VARCHAR(32) NOT NULL, 
	rank INTEGER NOT NULL, 
	progress INTEGER NOT NULL, 
	message VARCHAR(500) NOT NULL, 
	seq BIGINT NOT NULL, 
	params JSON NOT NULL, 
	result JSON, 
	checkpoint JSON, 
	error TEXT, 
	error_code VARCHAR(64), 
	attempt INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	fence INTEGER NOT NULL, 
	worker_id VARCHAR(64), 
	lease_until DOUBLE, 
	due_at DOUBLE, 
	time_limit DOUBLE NOT NULL, 
	cancel_requested BOOLEAN NOT NULL, 
	parent_id VARCHAR(36), 
	step VARCHAR(100), 
	request_id VARCHAR(64), 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (id), 
	CONSTRAINT fk_tasks_owner_id FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_tasks_parent_id FOREIGN KEY(parent_id) REFERENCES tasks (id) ON DELETE CASCADE, 
	CONSTRAINT uq_tasks_parent_id_step UNIQUE (parent_id, step)
);
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000100','0193f000-0000-7000-8000-000000000001','summary','Task 0 of the first release','completed','inference',2,100,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','{"summary": "Frozen."}',NULL,NULL,NULL,1,5,0,1,NULL,NULL,NULL,600.0,0,NULL,NULL,NULL,'2026-01-02 03:04:00.000000','2026-01-02 03:04:00.000000','2026-01-02 03:05:00.000000','2026-01-02 03:04:00.000000');
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000101','0193f000-0000-7000-8000-000000000002','summary','Task 1 of the first release','failed','inference',2,0,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','null',NULL,NULL,NULL,1,5,0,1,NULL,NULL,NULL,600.0,0,NULL,NULL,NULL,'2026-01-02 03:05:00.000000','2026-01-02 03:05:00.000000','2026-01-02 03:06:00.000000','2026-01-02 03:05:00.000000');
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000102','0193f000-0000-7000-8000-000000000001','summary','Task 2 of the first release','queued','inference',2,0,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','null',NULL,NULL,NULL,1,5,0,1,NULL,NULL,NULL,600.0,0,NULL,NULL,NULL,'2026-01-02 03:06:00.000000',NULL,NULL,'2026-01-02 03:06:00.000000');
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000103','0193f000-0000-7000-8000-000000000002','summary','Task 3 of the first release','running','inference',2,0,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','null',NULL,NULL,NULL,1,5,0,1,NULL,1.0,NULL,600.0,0,NULL,NULL,NULL,'2026-01-02 03:07:00.000000','2026-01-02 03:07:00.000000',NULL,'2026-01-02 03:07:00.000000');
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000104','0193f000-0000-7000-8000-000000000001','summary','Task 4 of the first release','cancelled','inference',2,0,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','null',NULL,NULL,NULL,1,5,0,1,NULL,NULL,NULL,600.0,0,NULL,NULL,NULL,'2026-01-02 03:08:00.000000','2026-01-02 03:08:00.000000','2026-01-02 03:09:00.000000','2026-01-02 03:08:00.000000');
INSERT INTO "tasks" VALUES('0193f000-0000-7000-8000-000000000105','0193f000-0000-7000-8000-000000000002','summary','Task 5 of the first release','retrying','inference',2,0,'',2,'{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}','null',NULL,NULL,NULL,1,5,0,1,NULL,NULL,1.0,600.0,0,NULL,NULL,NULL,'2026-01-02 03:09:00.000000','2026-01-02 03:09:00.000000',NULL,'2026-01-02 03:09:00.000000');
CREATE TABLE uploads (
	id VARCHAR(36) NOT NULL, 
	owner_id VARCHAR(36), 
	name VARCHAR(255) NOT NULL, 
	content_type VARCHAR(128) NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_uploads PRIMARY KEY (id), 
	CONSTRAINT fk_uploads_owner_id FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "uploads" VALUES('0193f000-0000-7000-8000-000000000301','0193f000-0000-7000-8000-000000000001','harbour.txt','text/plain',22,'0000000000000000000000000000000000000000000000000000000000000000','2026-01-02 03:05:00.000000');
CREATE TABLE users (
	id VARCHAR(36) NOT NULL, 
	username VARCHAR(64) NOT NULL, 
	username_key VARCHAR(128) NOT NULL, 
	email VARCHAR(254), 
	password_hash VARCHAR(255), 
	is_admin BOOLEAN NOT NULL, 
	is_local BOOLEAN NOT NULL, 
	is_active BOOLEAN NOT NULL, 
	consent_json JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	last_login_at DATETIME, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_email UNIQUE (email), 
	CONSTRAINT uq_users_username_key UNIQUE (username_key)
);
INSERT INTO "users" VALUES('0193f000-0000-7000-8000-000000000001','ada','ada',NULL,NULL,0,0,1,'{}','2026-01-02 03:04:00.000000',NULL);
INSERT INTO "users" VALUES('0193f000-0000-7000-8000-000000000002','bob','bob',NULL,NULL,0,0,1,'{}','2026-01-02 03:04:00.000000',NULL);
INSERT INTO "users" VALUES('0193f000-0000-7000-8000-000000000003','root','root',NULL,NULL,1,0,1,'{}','2026-01-02 03:04:00.000000',NULL);
CREATE TABLE workers (
	id VARCHAR(64) NOT NULL, 
	role VARCHAR(64) NOT NULL, 
	queues VARCHAR(200) NOT NULL, 
	host VARCHAR(200) NOT NULL, 
	pid INTEGER NOT NULL, 
	threads INTEGER NOT NULL, 
	rss_mb DOUBLE NOT NULL, 
	running JSON NOT NULL, 
	done INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	CONSTRAINT pk_workers PRIMARY KEY (id)
);
CREATE INDEX ix_api_keys_user_id ON api_keys (user_id);
CREATE INDEX ix_login_sessions_expires_at ON login_sessions (expires_at);
CREATE INDEX ix_login_sessions_user_id ON login_sessions (user_id);
CREATE INDEX ix_schedules_next_at ON schedules (next_at);
CREATE INDEX ix_tasks_created_at ON tasks (created_at);
CREATE INDEX ix_tasks_due ON tasks (due_at) WHERE status = 'retrying';
CREATE INDEX ix_tasks_kind_id ON tasks (kind, id);
CREATE INDEX ix_tasks_leases ON tasks (lease_until) WHERE status = 'running';
CREATE INDEX ix_tasks_owner_id_id ON tasks (owner_id, id);
CREATE INDEX ix_tasks_owner_id_status_id ON tasks (owner_id, status, id);
CREATE INDEX ix_tasks_ready ON tasks (queue, rank, id) WHERE status = 'queued';
CREATE INDEX ix_tasks_status_id ON tasks (status, id);
CREATE INDEX ix_uploads_created_at ON uploads (created_at);
CREATE INDEX ix_uploads_owner_id_id ON uploads (owner_id, id);
CREATE INDEX ix_dead_letters_task_id ON dead_letters (task_id);
CREATE INDEX ix_refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX ix_task_events_at ON task_events (at);
COMMIT;
