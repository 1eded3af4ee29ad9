-- What the database of compose.yaml begins with.
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text NOT NULL, price numeric(10, 2) NOT NULL);
INSERT INTO orders (item, price) VALUES ('lamp', 19.90), ('chair', 75.00), ('table', 240.00);
