/** Recipes: words, labels and creators of the demo world. */
import { describe, expect, it } from "vitest";
import { makeCatalogue, planAt } from "../../demo/catalogue.ts";
import { VOLUME_SHARE } from "../../demo/creators.ts";
import { CUISINES, DISHES } from "../../demo/dishes.ts";
import { ingredientsOf } from "../../demo/grammar.ts";
import { INGREDIENTS, ingredient } from "../../demo/ingredients.ts";
import { makeWorld } from "../../demo/world.ts";

const world = makeWorld();
const items = [...world.items()];

describe("the larder", () => {
  it("names every ingredient once", () => {
    expect(new Set(INGREDIENTS.map((entry) => entry.name)).size).toBe(INGREDIENTS.length);
  });

  it("refuses a name it lacks", () => {
    expect(() => ingredient("unicorn")).toThrow(RangeError);
  });

  it("has 22 cuisines, each with mains, something light, a side or a bread, and a dessert or none", () => {
    expect(CUISINES.length).toBe(22);
    for (const cuisine of CUISINES) {
      const courses = new Set(DISHES.filter((dish) => dish.cuisine === cuisine.index).map((dish) => dish.course));
      expect(courses.has("main"), cuisine.name).toBe(true);
      expect(courses.size, cuisine.name).toBeGreaterThanOrEqual(3);
    }
  });

  it("gives every dish heroes and accents that its base does not already hold", () => {
    for (const dish of DISHES) {
      const base = new Set(dish.base.map((entry) => entry.name));
      expect(dish.heroes.filter((entry) => !base.has(entry.name)).length, dish.name).toBeGreaterThanOrEqual(4);
      expect(dish.accents.filter((entry) => !base.has(entry.name)).length, dish.name).toBeGreaterThanOrEqual(3);
    }
  });
});

describe("a recipe", () => {
  it("has 2,400 siblings with ids in order of upload and titles that are all different", () => {
    expect(items.length).toBe(2400);
    expect(items.map((item) => item.id)).toEqual(items.map((_, index) => `r${index + 1}`));
    const times = items.map((item) => item.createdAt);
    expect([...times].sort()).toEqual(times);
    expect(new Set(items.map((item) => item.title)).size).toBeGreaterThanOrEqual(2390);
  });

  it("never holds an ingredient twice, nor two of a kind in its choices", () => {
    for (const item of items) {
      const names = item.attributes.ingredients;
      expect(new Set(names).size, item.title).toBe(names.length);
    }
    for (let index = 0; index < world.catalogue.count; index += 1) {
      const titles = ingredientsOf(planAt(world.catalogue, index)).slice(0, 2);
      expect(new Set(titles.map((entry) => entry.adjective)).size, items[index]!.title).toBe(titles.length);
    }
  });

  it("is vegan only without anything from an animal, by the names of its ingredients", () => {
    const animal =
      /chicken|duck|turkey|beef|veal|lamb|pork|bacon|ham\b|chorizo|sausage|butter$|^butter|milk$|cream|yogurt|cheese|feta|parmesan|egg\b|honey|fish|salmon|tuna|cod\b|prawn|anchov|gelatine|ghee|kimchi|mayonnaise|oyster sauce|paneer|mozzarella|ricotta|curry paste|mascarpone|pesto/;
    const plantNamed = /coconut milk|peanut butter|butter bean|butternut squash|oyster mushroom/;
    const vegan = items.filter((item) => item.attributes.diet.includes("vegan"));
    expect(vegan.length).toBeGreaterThan(200);
    for (const item of vegan) {
      const suspects = item.attributes.ingredients.filter((name) => animal.test(name) && !plantNamed.test(name));
      expect(suspects, item.title).toEqual([]);
      for (const allergen of ["milk", "egg", "fish", "shellfish"])
        expect(item.attributes.allergens).not.toContain(allergen);
      expect(item.attributes.diet).toContain("vegetarian");
    }
  });

  it("carries free-from labels that agree with its allergens", () => {
    for (const { title, attributes } of items) {
      expect(attributes.diet.includes("gluten-free"), title).toBe(!attributes.allergens.includes("gluten"));
      expect(attributes.diet.includes("dairy-free"), title).toBe(!attributes.allergens.includes("milk"));
      const hasNuts = attributes.allergens.includes("treenut") || attributes.allergens.includes("peanut");
      expect(attributes.diet.includes("nut-free"), title).toBe(!hasNuts);
      if (
        attributes.ingredients.some(
          (name) => /flour$|breadcrumb|pasta|noodle/.test(name) && /plain|strong|wheat|bread/.test(name),
        )
      ) {
        expect(attributes.allergens, title).toContain("gluten");
      }
    }
  });

  it("says nothing odd: no unfilled slot, no doubled word, sensible minutes", () => {
    for (const { title, text, attributes } of items) {
      expect(`${title} ${text}`).not.toMatch(/[{}]|undefined|null|NaN| {2}/);
      expect(title, title).not.toMatch(/\b(\w{4,}) \1\b/i);
      expect(text.length, title).toBeGreaterThan(40);
      expect(attributes.minutes, title).toBeGreaterThanOrEqual(5);
      expect(attributes.minutes, title).toBeLessThanOrEqual(320);
      if (/Weeknight/.test(title)) expect(attributes.minutes, title).toBeLessThanOrEqual(45);
    }
  });

  it("may be sold as a kit, with a price in cents and stores", () => {
    const kits = items.filter((item) => item.price);
    expect(kits.length / items.length).toBeCloseTo(0.35, 1);
    for (const kit of kits) expect(kit.price!.amountMinor).toBeGreaterThan(100);
    for (const item of items) expect(item.attributes.availableIn === undefined || item.price !== undefined).toBe(true);
  });
});

describe("creators", () => {
  const { creators } = world.catalogue;

  it("are 160 people and 60 channels with different names", () => {
    expect(creators.filter((creator) => !creator.isMachine).length).toBe(160);
    expect(creators.filter((creator) => creator.isMachine).length).toBe(60);
    expect(new Set(creators.map((creator) => creator.name)).size).toBe(220);
  });

  it("have more than 10 uploads in the planted shares", () => {
    const volume = (isMachine: boolean): number => {
      const group = creators.filter((creator) => creator.isMachine === isMachine);
      return group.filter((creator) => creator.uploads > 10).length / group.length;
    };
    expect(volume(false)).toBeCloseTo(VOLUME_SHARE.human, 2);
    expect(volume(true)).toBeCloseTo(VOLUME_SHARE.machine, 2);
    expect(creators.reduce((sum, creator) => sum + creator.uploads, 0)).toBe(2400);
  });

  it("repeat themselves where they upload in volume: near-duplicates share dish and hero", () => {
    const { catalogue } = world;
    const pairs = [...catalogue.nearDuplicateOf.entries()].filter(([, original]) => original >= 0);
    expect(pairs.length).toBeGreaterThan(120);
    for (const [copy, original] of pairs) {
      expect(original).toBeLessThan(copy);
      expect(catalogue.creator[copy]).toBe(catalogue.creator[original]);
      expect([catalogue.dish[copy], catalogue.hero[copy]]).toEqual([
        catalogue.dish[original],
        catalogue.hero[original],
      ]);
      expect(creators[catalogue.creator[copy]!]!.uploads).toBeGreaterThan(10);
    }
  });

  it("go on uploading in the held-out fortnight", () => {
    const { created } = world.catalogue;
    expect(created.filter((seconds) => seconds >= 106 * 86_400).length).toBeGreaterThan(50);
  });
});

it("a catalogue of another scale keeps its promises", () => {
  for (const scale of [0.05, 3]) {
    const catalogue = makeCatalogue(7, scale);
    expect(catalogue.count).toBe(Math.round(2400 * scale));
    expect(catalogue.creators.reduce((sum, creator) => sum + creator.uploads, 0)).toBe(catalogue.count);
  }
});
