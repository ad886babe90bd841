-- The schema of migration 0001 on Postgres with some rows.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    name character varying(100) NOT NULL,
    prefix character varying(16) NOT NULL,
    key_hash character varying(64) NOT NULL,
    scopes jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);
CREATE TABLE public.dead_letters (
    id character varying(36) NOT NULL,
    task_id character varying(36) NOT NULL,
    kind character varying(64) NOT NULL,
    queue character varying(32) NOT NULL,
    reason character varying(64) NOT NULL,
    error text NOT NULL,
    traceback text,
    attempt integer NOT NULL,
    failed_at timestamp with time zone NOT NULL,
    requeued_at timestamp with time zone
);
CREATE TABLE public.idempotency_keys (
    owner_id character varying(36) NOT NULL,
    key character varying(200) NOT NULL,
    fingerprint character varying(64) NOT NULL,
    status integer,
    body text,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.leases (
    name character varying(64) NOT NULL,
    holder character varying(64) NOT NULL,
    until double precision NOT NULL
);
CREATE TABLE public.login_sessions (
    id character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    token_hash character varying(64),
    created_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ip character varying(64),
    user_agent text NOT NULL,
    revoked_at timestamp with time zone
);
CREATE TABLE public.refresh_tokens (
    id character varying(36) NOT NULL,
    family character varying(36) NOT NULL,
    user_id character varying(36) NOT NULL,
    token_hash character varying(64) NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone
);
CREATE TABLE public.schedules (
    id character varying(36) NOT NULL,
    owner_id character varying(36),
    name character varying(100) NOT NULL,
    kind character varying(64) NOT NULL,
    params jsonb NOT NULL,
    cron character varying(100),
    "interval" double precision,
    enabled boolean NOT NULL,
    next_at double precision,
    last_at double precision,
    last_task_id character varying(36)
);
CREATE TABLE public.task_events (
    task_id character varying(36) NOT NULL,
    seq bigint NOT NULL,
    type character varying(16) NOT NULL,
    level character varying(8) NOT NULL,
    status character varying(16) NOT NULL,
    progress integer NOT NULL,
    message text NOT NULL,
    data jsonb,
    at timestamp with time zone NOT NULL
);
CREATE TABLE public.tasks (
    id character varying(36) NOT NULL,
    owner_id character varying(36),
    kind character varying(64) NOT NULL,
    title character varying(300) NOT NULL,
    status character varying(16) NOT NULL,
    queue character varying(32) NOT NULL,
    rank integer NOT NULL,
    progress integer NOT NULL,
    message character varying(500) NOT NULL,
    seq bigint NOT NULL,
    params jsonb NOT NULL,
    result jsonb,
    checkpoint jsonb,
    error text,
    error_code character varying(64),
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    crashes integer NOT NULL,
    fence integer NOT NULL,
    worker_id character varying(64),
    lease_until double precision,
    due_at double precision,
    time_limit double precision NOT NULL,
    cancel_requested boolean NOT NULL,
    parent_id character varying(36),
    step character varying(100),
    request_id character varying(64),
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.uploads (
    id character varying(36) NOT NULL,
    owner_id character varying(36),
    name character varying(255) NOT NULL,
    content_type character varying(128) NOT NULL,
    size bigint NOT NULL,
    sha256 character varying(64) NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.users (
    id character varying(36) NOT NULL,
    username character varying(64) NOT NULL,
    username_key character varying(128) NOT NULL,
    email character varying(254),
    password_hash character varying(255),
    is_admin boolean NOT NULL,
    is_local boolean NOT NULL,
    is_active boolean NOT NULL,
    consent_json jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_login_at timestamp with time zone
);
CREATE TABLE public.workers (
    id character varying(64) NOT NULL,
    role character varying(64) NOT NULL,
    queues character varying(200) NOT NULL,
    host character varying(200) NOT NULL,
    pid integer NOT NULL,
    threads integer NOT NULL,
    rss_mb double precision NOT NULL,
    running jsonb NOT NULL,
    done integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    beat_at double precision NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.dead_letters VALUES ('0193f000-0000-7000-8000-000000000201', '0193f000-0000-7000-8000-000000000101', 'summary', 'inference', 'attempts', 'The page did not answer', NULL, 5, '2026-01-02 03:07:00+00', NULL);
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000100', 1, 'status', 'info', 'completed', 0, 'Accepted', NULL, '2026-01-02 03:04:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000100', 2, 'status', 'info', 'completed', 0, 'completed', NULL, '2026-01-02 03:04:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000101', 1, 'status', 'info', 'failed', 0, 'Accepted', NULL, '2026-01-02 03:05:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000101', 2, 'status', 'info', 'failed', 0, 'failed', NULL, '2026-01-02 03:05:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000102', 1, 'status', 'info', 'queued', 0, 'Accepted', NULL, '2026-01-02 03:06:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000102', 2, 'status', 'info', 'queued', 0, 'queued', NULL, '2026-01-02 03:06:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000103', 1, 'status', 'info', 'running', 0, 'Accepted', NULL, '2026-01-02 03:07:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000103', 2, 'status', 'info', 'running', 0, 'running', NULL, '2026-01-02 03:07:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000104', 1, 'status', 'info', 'cancelled', 0, 'Accepted', NULL, '2026-01-02 03:08:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000104', 2, 'status', 'info', 'cancelled', 0, 'cancelled', NULL, '2026-01-02 03:08:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000105', 1, 'status', 'info', 'retrying', 0, 'Accepted', NULL, '2026-01-02 03:09:00+00');
INSERT INTO public.task_events VALUES ('0193f000-0000-7000-8000-000000000105', 2, 'status', 'info', 'retrying', 0, 'retrying', NULL, '2026-01-02 03:09:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000100', '0193f000-0000-7000-8000-000000000001', 'summary', 'Task 0 of the first release', 'completed', 'inference', 2, 100, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', '{"summary": "Frozen."}', NULL, NULL, NULL, 1, 5, 0, 1, NULL, NULL, NULL, 600, false, NULL, NULL, NULL, '2026-01-02 03:04:00+00', '2026-01-02 03:04:00+00', '2026-01-02 03:05:00+00', '2026-01-02 03:04:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000101', '0193f000-0000-7000-8000-000000000002', 'summary', 'Task 1 of the first release', 'failed', 'inference', 2, 0, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', 'null', NULL, NULL, NULL, 1, 5, 0, 1, NULL, NULL, NULL, 600, false, NULL, NULL, NULL, '2026-01-02 03:05:00+00', '2026-01-02 03:05:00+00', '2026-01-02 03:06:00+00', '2026-01-02 03:05:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000102', '0193f000-0000-7000-8000-000000000001', 'summary', 'Task 2 of the first release', 'queued', 'inference', 2, 0, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', 'null', NULL, NULL, NULL, 1, 5, 0, 1, NULL, NULL, NULL, 600, false, NULL, NULL, NULL, '2026-01-02 03:06:00+00', NULL, NULL, '2026-01-02 03:06:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000103', '0193f000-0000-7000-8000-000000000002', 'summary', 'Task 3 of the first release', 'running', 'inference', 2, 0, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', 'null', NULL, NULL, NULL, 1, 5, 0, 1, NULL, 1, NULL, 600, false, NULL, NULL, NULL, '2026-01-02 03:07:00+00', '2026-01-02 03:07:00+00', NULL, '2026-01-02 03:07:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000104', '0193f000-0000-7000-8000-000000000001', 'summary', 'Task 4 of the first release', 'cancelled', 'inference', 2, 0, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', 'null', NULL, NULL, NULL, 1, 5, 0, 1, NULL, NULL, NULL, 600, false, NULL, NULL, NULL, '2026-01-02 03:08:00+00', '2026-01-02 03:08:00+00', '2026-01-02 03:09:00+00', '2026-01-02 03:08:00+00');
INSERT INTO public.tasks VALUES ('0193f000-0000-7000-8000-000000000105', '0193f000-0000-7000-8000-000000000002', 'summary', 'Task 5 of the first release', 'retrying', 'inference', 2, 0, '', 2, '{"content": "The harbour was frozen for six weeks that winter. Ships waited outside."}', 'null', NULL, NULL, NULL, 1, 5, 0, 1, NULL, NULL, 1, 600, false, NULL, NULL, NULL, '2026-01-02 03:09:00+00', '2026-01-02 03:09:00+00', NULL, '2026-01-02 03:09:00+00');
INSERT INTO public.uploads VALUES ('0193f000-0000-7000-8000-000000000301', '0193f000-0000-7000-8000-000000000001', 'harbour.txt', 'text/plain', 22, '0000000000000000000000000000000000000000000000000000000000000000', '2026-01-02 03:05:00+00');
INSERT INTO public.users VALUES ('0193f000-0000-7000-8000-000000000001', 'ada', 'ada', NULL, NULL, false, false, true, '{}', '2026-01-02 03:04:00+00', NULL);
INSERT INTO public.users VALUES ('0193f000-0000-7000-8000-000000000002', 'bob', 'bob', NULL, NULL, false, false, true, '{}', '2026-01-02 03:04:00+00', NULL);
INSERT INTO public.users VALUES ('0193f000-0000-7000-8000-000000000003', 'root', 'root', NULL, NULL, true, false, true, '{}', '2026-01-02 03:04:00+00', NULL);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT pk_dead_letters PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT pk_idempotency_keys PRIMARY KEY (owner_id, key);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT pk_leases PRIMARY KEY (name);
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT pk_login_sessions PRIMARY KEY (id);
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT pk_refresh_tokens PRIMARY KEY (id);
ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT pk_schedules PRIMARY KEY (id);
ALTER TABLE ONLY public.task_events
    ADD CONSTRAINT pk_task_events PRIMARY KEY (task_id, seq);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT pk_tasks PRIMARY KEY (id);
ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT pk_uploads PRIMARY KEY (id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT pk_users PRIMARY KEY (id);
ALTER TABLE ONLY public.workers
    ADD CONSTRAINT pk_workers PRIMARY KEY (id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash);
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT uq_login_sessions_token_hash UNIQUE (token_hash);
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT uq_refresh_tokens_token_hash UNIQUE (token_hash);
ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT uq_schedules_name UNIQUE (name);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT uq_tasks_parent_id_step UNIQUE (parent_id, step);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT uq_users_email UNIQUE (email);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT uq_users_username_key UNIQUE (username_key);
CREATE INDEX ix_api_keys_user_id ON public.api_keys USING btree (user_id);
CREATE INDEX ix_dead_letters_task_id ON public.dead_letters USING btree (task_id);
CREATE INDEX ix_login_sessions_expires_at ON public.login_sessions USING btree (expires_at);
CREATE INDEX ix_login_sessions_user_id ON public.login_sessions USING btree (user_id);
CREATE INDEX ix_refresh_tokens_family ON public.refresh_tokens USING btree (family);
CREATE INDEX ix_schedules_next_at ON public.schedules USING btree (next_at);
CREATE INDEX ix_task_events_at ON public.task_events USING btree (at);
CREATE INDEX ix_tasks_created_at ON public.tasks USING btree (created_at);
CREATE INDEX ix_tasks_due ON public.tasks USING btree (due_at) WHERE ((status)::text = 'retrying'::text);
CREATE INDEX ix_tasks_kind_id ON public.tasks USING btree (kind, id);
CREATE INDEX ix_tasks_leases ON public.tasks USING btree (lease_until) WHERE ((status)::text = 'running'::text);
CREATE INDEX ix_tasks_owner_id_id ON public.tasks USING btree (owner_id, id);
CREATE INDEX ix_tasks_owner_id_status_id ON public.tasks USING btree (owner_id, status, id);
CREATE INDEX ix_tasks_ready ON public.tasks USING btree (queue, rank, id) WHERE ((status)::text = 'queued'::text);
CREATE INDEX ix_tasks_status_id ON public.tasks USING btree (status, id);
CREATE INDEX ix_uploads_created_at ON public.uploads USING btree (created_at);
CREATE INDEX ix_uploads_owner_id_id ON public.uploads USING btree (owner_id, id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT fk_api_keys_user_id FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT fk_dead_letters_task_id FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT fk_login_sessions_user_id FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT fk_refresh_tokens_family FOREIGN KEY (family) REFERENCES public.login_sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT fk_refresh_tokens_user_id FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT fk_schedules_owner_id FOREIGN KEY (owner_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.task_events
    ADD CONSTRAINT fk_task_events_task_id FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT fk_tasks_owner_id FOREIGN KEY (owner_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT fk_tasks_parent_id FOREIGN KEY (parent_id) REFERENCES public.tasks(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT fk_uploads_owner_id FOREIGN KEY (owner_id) REFERENCES public.users(id) ON DELETE CASCADE;
