/** Random events, filters and expressions, small enough that filters and events often meet. */
import fc from "fast-check";
import type { Attributes } from "../../../src/mesh/event/event.ts";
import type { Node } from "../../../src/mesh/filter/cesql/ast.ts";
import { format } from "../../../src/mesh/filter/cesql/ast.ts";
import type { FilterSpec } from "../../../src/mesh/filter/filter.ts";

const piece = fc.constantFrom("com", "acme", "a", "b", "", "order");

export const eventType = fc
  .oneof(
    { weight: 8, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.array(piece, { minLength: 9, maxLength: 14 }) },
  )
  .map((pieces) => pieces.join(".") || "a");

const typeText = fc.oneof(
  eventType,
  eventType.map((type) => `${type}.`),
  eventType.chain((type) => fc.nat(type.length - 1).map((end) => type.slice(0, end + 1))),
);

const name = fc.constantFrom("type", "source", "subject", "ext", "flag", "missing");
const shortText = fc.constantFrom("/a", "/a/b", "x", "true", "12", "it's", "é😀", '"', "a\\b");

export const attributes: fc.Arbitrary<Attributes> = fc
  .record(
    {
      specversion: fc.constant("1.0"),
      id: fc.constantFrom("1", "true"),
      source: shortText,
      type: eventType,
      subject: shortText,
      ext: fc.oneof(shortText, eventType),
      flag: fc.constantFrom("true", "false", "0"),
    },
    { requiredKeys: ["specversion", "id", "source", "type"] },
  )
  .map((members) => Object.assign(Object.create(null), members) as Attributes);

const literal = fc
  .oneof(
    shortText,
    typeText,
    fc.boolean(),
    fc.integer({ min: -3, max: 20 }),
    fc.constantFrom(-2147483648, 2147483647),
  )
  .map((value): Node => ({ kind: "literal", value }));

const pattern = fc.oneof(
  typeText.map((text) => `${text}%`),
  typeText,
  fc.constantFrom("%", "com.%", "com.acme.%", "%.order", "com.a%.order", "_om.acme%", "/a%", "com.\\%x"),
);

const typeNode: Node = { kind: "attribute", name: "type" };

/** The shapes pushdown reads. */
const typeCondition: fc.Arbitrary<Node> = fc.oneof(
  fc.tuple(eventType, fc.boolean()).map(([value, swap]): Node => {
    const constant: Node = { kind: "literal", value };
    const [left, right] = swap ? [constant, typeNode] : [typeNode, constant];
    return { kind: "compare", operator: "=", left, right };
  }),
  fc
    .tuple(pattern, fc.boolean())
    .map(([text, negated]): Node => ({ kind: "like", negated, operand: typeNode, pattern: text })),
  fc
    .tuple(fc.array(literal, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([set, negated]): Node => ({ kind: "in", negated, operand: typeNode, set })),
);

/** Any tree; also ones the parser would not build, such as a logic node inside a logic node of the same operator. */
export const expression: fc.Arbitrary<Node> = fc.letrec<{ node: Node }>((tie) => {
  const pair = fc.record({ left: tie("node"), right: tie("node") });
  return {
    node: fc.oneof(
      { maxDepth: 4, depthIdentifier: "expression" },
      fc.oneof(
        literal,
        name.map((each): Node => ({ kind: "attribute", name: each })),
        name.map((each): Node => ({ kind: "exists", name: each })),
      ),
      typeCondition,
      fc
        .tuple(fc.constantFrom("AND", "OR", "XOR"), fc.array(tie("node"), { minLength: 2, maxLength: 4 }))
        .map(([operator, operands]): Node => ({ kind: "logic", operator, operands }) as Node),
      fc
        .tuple(fc.constantFrom("=", "!=", "<", "<=", ">", ">="), pair)
        .map(([operator, sides]): Node => ({ kind: "compare", operator, ...sides }) as Node),
      fc
        .tuple(fc.constantFrom("+", "-", "*", "/", "%"), pair)
        .map(([operator, sides]): Node => ({ kind: "arithmetic", operator, ...sides }) as Node),
      fc
        .tuple(fc.constantFrom("not", "negate"), tie("node"))
        .map(([kind, operand]) => ({ kind, operand }) as Node),
      fc
        .tuple(tie("node"), fc.boolean(), pattern)
        .map(([operand, negated, text]): Node => ({ kind: "like", negated, operand, pattern: text })),
      fc
        .tuple(tie("node"), fc.boolean(), fc.array(tie("node"), { minLength: 1, maxLength: 3 }))
        .map(([operand, negated, set]): Node => ({ kind: "in", negated, operand, set })),
      fc
        .tuple(
          fc.constantFrom("LENGTH", "CONCAT", "LEFT", "SUBSTRING", "INT", "BOOL", "NOSUCH"),
          fc.array(tie("node"), { maxLength: 3 }),
        )
        .map(([called, args]): Node => ({ kind: "call", name: called, args })),
    ),
  };
}).node;

const easy = fc.constantFrom<Node>({ kind: "exists", name: "source" }, { kind: "literal", value: true });

const typeConjunction = fc
  .tuple(
    fc.array(typeCondition, { minLength: 1, maxLength: 2 }),
    fc.array(fc.oneof(expression, easy), { maxLength: 2 }),
  )
  .map(([conditions, others]): Node => {
    const [first, ...rest] = [...conditions, ...others];
    if (first === undefined || rest.length === 0) return first ?? typeNode;
    return { kind: "logic", operator: "AND", operands: [first, ...rest] };
  });

const cesql = fc.oneof(
  { weight: 3, arbitrary: typeConjunction.map(format) },
  { weight: 2, arbitrary: expression.map(format) },
  { weight: 1, arbitrary: fc.constantFrom("", "(", "type = 'a' AND flag") },
);

const attributeMap = fc.dictionary(name, fc.oneof(shortText, typeText), { minKeys: 0, maxKeys: 2 });
const typeMap = fc
  .tuple(typeText, fc.option(shortText, { nil: undefined }))
  .map(([type, source]) => (source === undefined ? { type } : { type, source }));
const map = fc.oneof({ weight: 3, arbitrary: typeMap }, { weight: 2, arbitrary: attributeMap });

export const filter: fc.Arbitrary<FilterSpec> = fc.letrec<{ filter: FilterSpec }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 3, depthIdentifier: "filter" },
    map.map((exact): FilterSpec => ({ exact })),
    map.map((prefix): FilterSpec => ({ prefix })),
    map.map((suffix): FilterSpec => ({ suffix })),
    cesql.map((text): FilterSpec => ({ cesql: text })),
    fc.array(tie("filter"), { minLength: 1, maxLength: 3 }).map((all): FilterSpec => ({ all })),
    fc.array(tie("filter"), { minLength: 1, maxLength: 3 }).map((any): FilterSpec => ({ any })),
    tie("filter").map((not): FilterSpec => ({ not })),
  ),
})).filter;

export const filters: fc.Arbitrary<readonly FilterSpec[]> = fc.oneof(
  filter.map((only) => [only]),
  fc.array(filter, { maxLength: 3 }),
);

/** Filters with an event whose type is mostly one of the texts in the filters, or close to one. */
export const filtersAndEvent: fc.Arbitrary<readonly [readonly FilterSpec[], Attributes]> = fc
  .tuple(filters, attributes, fc.nat(), fc.constantFrom("", "", "b", ".b", ".order"))
  .map(([spec, event, pick, more]) => {
    const texts = JSON.stringify(spec).match(/\b(?:com|acme|order|a|b)\b[a-z.]*|\.[a-z.]*/g) ?? [event.type];
    const type = `${texts[pick % texts.length]}${more}`;
    return [spec, Object.assign(Object.create(null), event, { type })];
  });
