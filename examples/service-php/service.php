<?php
// Keeps a copy of a table of orders, in plain PHP: rows and checkpoint share one transaction.
// SERVICE_KEY=secret php -d display_errors=0 -S 127.0.0.1:8000 service.php serves it.

declare(strict_types=1);

ini_set('precision', '-1'); // PDO binds a float as text, of which 14 digits are kept otherwise

const LARGEST_BODY = 8 * 1024 * 1024; // PHP's own post_max_size, above which it gives an empty body

const EVENT = [
    'type' => 'object',
    'properties' => [
        'id' => ['type' => 'integer'],
        'name' => ['type' => ['string', 'null']],
        'price' => ['type' => ['number', 'null']],
        'reference' => ['type' => ['integer', 'null']],
        'index' => ['type' => 'integer'],
        '_deleted' => ['type' => 'boolean'],
    ],
    'required' => ['id'], // the mark of a row that is gone carries its key alone
    'x-fuagent-delete-field' => '_deleted',
];
const BODY = ['type' => 'object', 'properties' => ['events' => ['type' => 'array', 'items' => EVENT]]];
const DOCUMENT = [
    'openapi' => '3.1.0',
    'info' => ['title' => 'Copy of orders', 'version' => '1'],
    'servers' => [['url' => '/', 'x-fuagent-status-endpoint' => '/fuagent-sync-status']],
    'security' => [['key' => []], ['bearer' => []]],
    'components' => ['securitySchemes' => [
        'key' => ['type' => 'apiKey', 'in' => 'header', 'name' => 'x-api-key'],
        'bearer' => ['type' => 'http', 'scheme' => 'bearer'],
    ]],
    'paths' => [
        '/ingest-batch' => ['post' => [
            'requestBody' => ['content' => ['application/json' => ['schema' => BODY]]],
            'responses' => ['200' => ['description' => 'stored']],
        ]],
        '/fuagent-sync-status' => ['get' => ['responses' => ['200' => ['description' => 'the largest index stored']]]],
    ],
];

/** An answer that ends the request: status as code, a reason without a value of a row as message. */
class Refused extends Exception
{
}

function database(): PDO
{
    $database = new PDO('sqlite:' . (getenv('SERVICE_DATABASE') ?: 'service.db'), null, null, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_TIMEOUT => 30, // a database that is busy lets us wait rather than fail
        PDO::ATTR_STRINGIFY_FETCHES => false, // integers stay integers
    ]);
    $database->exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, reference INTEGER)');
    $database->exec('CREATE TABLE IF NOT EXISTS checkpoints
        (agent_id TEXT, task_id TEXT, last_index INTEGER, PRIMARY KEY (agent_id, task_id))');
    return $database;
}

function checkpoint(PDO $database, string $agent, string $task): int
{
    $question = $database->prepare('SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?');
    $question->execute([$agent, $task]);
    return (int) $question->fetchColumn();
}

/** Whether an event is a row. Without a column it would erase what stands there, so only a mark may be short. */
function fits(mixed $event): bool
{
    $has = fn (string $name, string ...$types): bool =>
        is_object($event) && property_exists($event, $name) && in_array(get_debug_type($event->$name), $types, true);
    return $has('id', 'int') && is_int($event->index ?? 0) && (($event->_deleted ?? false) === true || (
        $has('name', 'string', 'null') && $has('price', 'int', 'float', 'null') && $has('reference', 'int', 'null')));
}

/** Applies a batch and its checkpoint together; what was applied before is not applied again. */
function store(PDO $database, object $batch): void
{
    $upsert = $database->prepare('INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)');
    $remove = $database->prepare('DELETE FROM orders WHERE id = ?');
    $database->exec('BEGIN IMMEDIATE'); // no other request writes between our reading and our writing
    $reached = $highest = checkpoint($database, $batch->agent_id, $batch->task_id);
    foreach ($batch->events as $event) {
        // A replay would take the row back to an older version. Rows of a snapshot carry no index.
        if (isset($event->index) && $event->index <= $reached) {
            continue;
        }
        $highest = max($highest, $event->index ?? 0);
        if (($event->_deleted ?? false) === true) {
            $remove->execute([$event->id]);
        } else {
            $upsert->execute([$event->id, $event->name, $event->price, $event->reference]);
        }
    }
    if ($highest > $reached) {
        $save = $database->prepare('INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)');
        $save->execute([$batch->agent_id, $batch->task_id, $highest]);
    }
    $database->exec('COMMIT'); // where we do not get here, the end of the request closes and so undoes it
}

/** The body, out of its gzip piece by piece: a kilobyte of it can stand for a megabyte. */
function body(): string
{
    if ((int) ($_SERVER['CONTENT_LENGTH'] ?? 0) > LARGEST_BODY) {
        throw new Refused('at most ' . LARGEST_BODY . ' bytes', 413);
    }
    $sent = file_get_contents('php://input');
    switch ($_SERVER['HTTP_CONTENT_ENCODING'] ?? '') {
        case '':
            return $sent;
        case 'gzip':
            $unpacker = inflate_init(ZLIB_ENCODING_GZIP);
            $body = '';
            foreach (str_split($sent, 4096) as $piece) {
                $body .= @inflate_add($unpacker, $piece) ?: '';
                if (strlen($body) > LARGEST_BODY) {
                    throw new Refused('at most ' . LARGEST_BODY . ' bytes', 413);
                }
            }
            return $body; // of a broken one what came out so far, which is no JSON
        default:
            throw new Refused('the only content coding is gzip', 415);
    }
}

function checkKey(): void
{
    preg_match('/^bearer (.*)$/i', $_SERVER['HTTP_AUTHORIZATION'] ?? '', $found);
    if (!hash_equals(getenv('SERVICE_KEY'), $_SERVER['HTTP_X_API_KEY'] ?? $found[1] ?? '')) {
        throw new Refused('wrong or missing key', 401);
    }
}

function ingest(): array
{
    $batch = json_decode(body());
    if (json_last_error() !== JSON_ERROR_NONE) {
        throw new Refused('the body is not JSON', 400);
    }
    $is_batch = is_object($batch) && is_string($batch->agent_id ?? null) && is_string($batch->task_id ?? null)
        && is_bool($batch->snapshot_sync_suggested ?? null) && is_array($batch->events ?? null);
    if (!$is_batch || array_filter($batch->events, fits(...)) !== $batch->events) {
        throw new Refused('the body does not fit the schema', 422);
    }
    store(database(), $batch);
    return ['snapshot_needed' => $batch->snapshot_sync_suggested]; // accept whenever one is suggested
}

function answer(): array
{
    $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
    if ($path === '/openapi.json') {
        return DOCUMENT;
    }
    checkKey();
    switch ($_SERVER['REQUEST_METHOD'] . ' ' . $path) {
        case 'POST /ingest-batch':
            return ingest();
        case 'GET /fuagent-sync-status':
            $index = checkpoint(database(), (string) ($_GET['agent_id'] ?? ''), (string) ($_GET['task_id'] ?? ''));
            return $index ? ['index' => $index] : throw new Refused('no checkpoint yet', 404);
        default:
            throw new Refused('nothing here', 404);
    }
}

if (!getenv('SERVICE_KEY')) {
    http_response_code(500); // an empty key would let in whoever sends none
    exit('{"error": "SERVICE_KEY is missing: set it to the key the agent sends"}');
}
header('Content-Type: application/json');
try {
    $answer = answer();
} catch (Refused $refused) {
    http_response_code($refused->getCode());
    $answer = ['error' => $refused->getMessage()];
} catch (Throwable $error) {
    error_log($error::class . ' in line ' . $error->getLine()); // its message could hold a statement
    http_response_code(500); // nothing was stored: the agent sends the same batch again
    $answer = ['error' => 'not stored'];
}
echo json_encode($answer);
