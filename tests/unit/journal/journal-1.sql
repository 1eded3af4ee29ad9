-- A journal as fuagent 0.1.0 wrote it: see the test that reads it.
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE anchor (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, anchor TEXT NOT NULL, sum INTEGER NOT NULL
);
INSERT INTO "anchor" VALUES(1,'orders',1700000000.0,'{"index":1,"place":{"position":"1:1","previous":0,"resume_after":1},"shape":"shape 1","boundary":false}',2917471103);
INSERT INTO "anchor" VALUES(2,'orders',1700000000.0,'{"index":2,"place":{"position":"1:2","previous":1,"resume_after":2},"shape":"shape 2","boundary":true}',2713052304);
INSERT INTO "anchor" VALUES(3,'orders',1700000000.0,'{"index":3,"place":{"position":"1:3","previous":2,"resume_after":3},"shape":"shape 3","boundary":false}',1030159020);
INSERT INTO "anchor" VALUES(4,'orders',1700000000.0,'{"index":4,"place":{"position":"1:4","previous":3,"resume_after":4},"shape":"shape 4","boundary":true}',2466082269);
INSERT INTO "anchor" VALUES(5,'users',1700000000.0,'{"index":1,"place":{"position":"1:1","previous":0,"resume_after":1},"shape":"shape 1","boundary":false}',192907129);
INSERT INTO "anchor" VALUES(6,'users',1700000000.0,'{"index":2,"place":{"position":"1:2","previous":1,"resume_after":2},"shape":"shape 2","boundary":true}',2272691509);
INSERT INTO "anchor" VALUES(7,'users',1700000000.0,'{"index":3,"place":{"position":"1:3","previous":2,"resume_after":3},"shape":"shape 3","boundary":false}',2617011882);
INSERT INTO "anchor" VALUES(8,'users',1700000000.0,'{"index":4,"place":{"position":"1:4","previous":3,"resume_after":4},"shape":"shape 4","boundary":true}',3023965304);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('agent_id','agent-0123456789ab',305113759);
INSERT INTO "meta" VALUES('version','1',1700014320);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, source_table TEXT NOT NULL,
    number INTEGER NOT NULL, status INTEGER, reason TEXT NOT NULL, event BLOB NOT NULL,
    sum INTEGER NOT NULL,
    UNIQUE (sync, source_table, number, event)
);
INSERT INTO "rejected" VALUES(1,'users',1700000000.0,'a',5,422,'no email',X'7B226964223A352C22696E646578223A357D',3649769954);
INSERT INTO "rejected" VALUES(2,'users',1700000000.0,'a',6,NULL,'no name',X'7B226964223A362C22696E646578223A367D',2684175691);
CREATE TABLE sync (name TEXT PRIMARY KEY, record TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "sync" VALUES('orders','{"acknowledged":4,"answered":11,"snapshot":{"stage":"running","cause":"a reason","origin":{"position":"1:2","previous":3,"resume_after":4},"place":{"position":"5:6","previous":7,"resume_after":0},"index":8,"tables":["a","b"],"again":true},"snapshots":2,"snapshot_pause":120.0,"gap":"the log is gone","lost_at":0,"tables":["a","b","ü"],"paused":true,"rows":100,"batches":10,"left_out":3,"run":5}',2730295033);
INSERT INTO "sync" VALUES('users','{"acknowledged":4,"answered":11,"snapshot":{"stage":"running","cause":"a reason","origin":{"position":"1:2","previous":3,"resume_after":4},"place":{"position":"5:6","previous":7,"resume_after":0},"index":8,"tables":["a","b"],"again":true},"snapshots":2,"snapshot_pause":120.0,"gap":"the log is gone","lost_at":0,"tables":["a","b","ü"],"paused":true,"rows":100,"batches":10,"left_out":3,"run":5}',1148666159);
CREATE INDEX anchor_by_sync ON anchor (sync, id);
COMMIT;
