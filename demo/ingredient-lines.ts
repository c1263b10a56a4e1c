/**
 * Data of `ingredients.ts`. "# group class" opens a section; then entries `name/plural > name in titles @flags`, parted by ";".
 * Flags: allergens g gluten, m milk, e egg, n tree nut, p peanut, s sesame, y soy, f fish, c celery, d mustard, u sulphites, h shellfish;
 * seasons P spring, S summer, A autumn, W winter; ! hot, ~ creamy, $ dear.
 */
export const INGREDIENT_LINES = `
# poultry poultry
chicken; chicken breast > chicken; chicken thigh > chicken; chicken wing/s; chicken livers; chicken heart/s; poached chicken; lemongrass chicken; minced chicken > chicken
duck @$; duck breast > duck @$; duck leg > duck @$; turkey breast > turkey; minced turkey > turkey
# beef meat
minced beef > beef; beef shin; beef sirloin > beef @$; beef brisket @$; beef rib/s @$; beef short rib/s; carne asada beef > carne asada; lemongrass beef; roast beef @$; oxtail; veal @$; meatball/s @ge
# lamb meat
minced lamb > lamb; lamb shoulder > lamb; leg of lamb > lamb @$; lamb chop/s @$; lamb meatball/s @ge
# pork meat
minced pork > pork; pork shoulder > pork; pork belly; pork chop/s; pork cutlet/s > pork; pork fillet > pork; pork loin > pork; pork rib/s; serrano ham; bacon; pancetta; chorizo; morcilla; nduja @!; Italian sausage/s > sausage @u; Toulouse sausage/s; Chinese sausage; frankfurter/s
# game meat
rabbit; wild boar @$; venison @$; merguez @!; sucuk
# fish fish
cod; salmon; tuna; sea bass @$; sea bream @$; monkfish @$; sole @$; swordfish @$; hake; plaice; trout; arctic char @$; catfish; mackerel; sardine/s; smoked haddock; smoked mackerel; smoked salmon; smoked trout; salt cod; pickled herring; anchovy/ies; cod's roe; fish cake/s @g
# seafood shellfish
prawn/s; squid; mussel/s; clam/s; scallop/s @$; crab @$; lobster @$; octopus; dried shrimp
# egg egg
egg/s; fried egg/s; soft-boiled egg/s
# cheese dairy
parmesan; pecorino; mozzarella; ricotta @~; mascarpone @~; burrata @~$; taleggio; fontina; gorgonzola; gruyère; emmental; goat's cheese; blue cheese; roquefort; stilton; manchego; feta; kefalotyri; halloumi; kashar; cheddar; cotija; monterey jack; paneer; västerbotten cheese; cheese > cheese; cream cheese @~; quark
# dairy dairy
butter; browned butter; ghee; niter kibbeh; milk; double cream @~; cream @~; crème fraîche @~; soured cream @~; clotted cream @~; buttermilk; yogurt @~; greek yogurt @~; labneh @~; kashk; tzatziki @~; condensed milk; evaporated milk; dulce de leche; custard @e; cream cheese icing; rice pudding; white chocolate @y
# soy plant
tofu @y; soft tofu @y; smoked tofu @y; edamame @y
# legume plant
chickpea/s; butter bean/s; white bean/s; cannellini bean/s; borlotti bean/s; black bean/s; kidney bean/s; pinto bean/s; black-eyed bean/s; red lentil/s; green lentil/s; brown lentil/s; black lentil/s; lentil/s; yellow split pea/s; split chickpea/s; mung bean/s; sprouted mung bean/s; toor dal > toor; broad bean/s @PS
# mushroom plant
mushroom/s @A; chestnut mushroom/s; portobello mushroom/s; shiitake mushroom/s; oyster mushroom/s; king oyster mushroom/s; wood ear mushroom; porcini @A
# greens plant
spinach; chard; kale @W; cavolo nero @W; collard green/s; watercress; rocket; little gem; romaine; purslane @S; nettle/s @P; pak choi; choy sum; radicchio @W; chicory @W; vine leaf/vine leaves; asparagus @P; white asparagus @P; pea/s @P; sugar snap pea/s @S; green bean/s @S; runner bean/s @S; artichoke/s @P; okra; celery @c; beansprout/s; bamboo shoot/s; wakame; nori
# brassica plant
broccoli; cauliflower; purple sprouting broccoli @P; brussels sprout/s @W; cabbage; savoy cabbage @W; hispi cabbage; red cabbage @W; napa cabbage; sauerkraut; kohlrabi
# brassica fish
kimchi @!
# roots plant
potato/es; new potato/es @P; sweet potato/es; carrot/s; parsnip/s @W; beetroot; celeriac @Wc; swede @W; turnip/s @W; baby turnip/s @P; jerusalem artichoke/s @W; radish/es @P; daikon; cassava; water chestnut/s; potato salad @ed
# squash plant
butternut squash @A; pumpkin @A; squash @A; courgette/s @S; squash blossom/s @S; cucumber
# nightshade plant
tomato/es @S; cherry tomato/es @S; tinned tomato/es; tomato passata; tomato paste; tomatillo/s; aubergine/s @S; roasted aubergine; red pepper/s @S; green pepper/s; roasted red pepper/s; piquillo pepper/s; padrón pepper/s @S; poblano/s
# allium plant
onion/s; red onion/s; white onion/s; caramelised onion/s; fried onion/s; crispy onion/s @g; fried shallot/s; shallot/s; spring onion/s; garlic; leek/s @W; calçot/s @W; garlic chive/s; chive/s; fennel
# vegetable plant
sweetcorn @S; baby corn; hominy; avocado/s; hearts of palm; jackfruit; green papaya; green mango; plantain; coleslaw @ed; pickle/s; pickled carrot; pickled cucumber; pickled daikon; pickled radish; pickled turnip; pickled red onion; pickled red cabbage; pickled chilli/pickled chillies @!; pickled ginger; pickled mustard green/s @d; preserved mustard green/s @d; pickled plum/s; caper/s; black olive/s; green olive/s; kalamata olive/s
# fruit plant
lemon; lime; orange/s @W; blood orange/s @W; yuzu; pomelo; lemon zest > lemon; lime zest > lime; orange zest > orange; tangerine peel; preserved lemon; apple/s @A; pear/s @A; quince @A; peach/es @S; apricot/s @S; plum/s @A; cherry/ies @S; sour cherry/ies @S; fig/s @A; grape/s @A; melon @S; watermelon @S; mango/es; pineapple; banana/s; passion fruit; lychee/s; durian; coconut; toasted coconut; rhubarb @P; pomegranate @W; pomegranate seed/s > pomegranate; date/s; prune/s @u; raisin/s; currant/s; dried apricot/s > apricot @u; dried cherry/ies; dried cranberry/ies > cranberry; dried lime; marmalade; strawberry jam; redcurrant jelly; date syrup
# berry plant
strawberry/ies @S; raspberry/ies @S; blueberry/ies @S; blackberry/ies @A; gooseberry/ies @S; cranberry/ies @W; lingonberry/ies @A; cloudberry/ies @A; barberry/ies
# nut plant
almond/s @n; walnut/s @n; hazelnut/s @n; pistachio/s @n; cashew/s @n; pecan/s @n; praline @n; chestnut/s @A; pine nut/s; peanut/s @p; peanut butter @p; peanut sauce @pys; dukkah @ns; turrón @ne; amaretti @neg
# seed plant
sesame seed/s @s; black sesame seed > black sesame @s; tahini @s~; sesame oil @s; sesame paste @s; halva @s; poppy seed/s; sunflower seed/s; pumpkin seed/s; linseed; nigella seed/s; mustard seed/s @d; caraway; fennel seed/s; coriander seed/s
# chocolate plant
dark chocolate @y; cocoa; espresso; coffee; matcha; hojicha; earl grey; vanilla
# grain plant
arborio rice; bomba rice; basmati rice; jasmine rice; short-grain rice; brown rice; sticky rice; rice; toasted rice powder; rice flour; rice paper; rice cake/s; quinoa; buckwheat; buckwheat flour; cornmeal; cornflour; tapioca; tapioca flour; cassava flour; farofa; oat/s @g; bulgur @g; freekeh @g; farro @g; pearl barley @g; couscous @g; semolina @g; rye flake/s > rye @g; rye flour @g; tortilla chip/s
# pasta plant
orecchiette @g; pappardelle @ge; lasagne sheet/s @ge; potato gnocchi @ge; macaroni @g; ditalini @g; orzo @g; vermicelli @g; reshteh noodle/s > noodle @g; wheat noodle/s @g; ramen noodle/s @g; soba @g; rice noodle/s; rice vermicelli; sweet potato noodle/s; glass noodle/s; dumpling wrapper/s @g
# bread plant
plain flour @g; strong flour @g; self-raising flour @g; chapati flour @g; breadcrumb/s @g; bread @g; sourdough @g; sourdough starter @g; ciabatta @g; baguette @g; rye bread @g; barley rusk/s @g; flatbread @g; lavash @g; pitta @g; naan @gm; brioche bun/s @gme; corn tortilla/s; injera @g; filo pastry @g; kataifi @g; shortcrust pastry @gm; puff pastry @gm; sweet pastry @gme; ladyfinger/s @ge; cracker/s @g; gingerbread @g; sev; yeast; baking powder; bicarbonate of soda
# spice plant
salt; sea salt; black pepper; white pepper; sichuan pepper; cumin; turmeric; cinnamon; cardamom; clove/s; nutmeg; allspice; star anise; saffron @$; paprika; smoked paprika; sumac; za'atar @s; ras el hanout; garam masala; curry powder @d; ajwain; mahleb; mastic; juniper berry/ies > juniper; herbes de provence; chilli flake/chilli > chilli @!; dried chilli/dried chillies @!; aleppo pepper @!; pul biber @!; berbere @!; gochugaru @!; shichimi @!s; ancho chilli > ancho; chipotle @!; jalapeño/s @!; green chilli > green chilli @!; red chilli > chilli @!; bird's eye chilli > chilli @!; mustard powder @d
# herb plant
basil @S; Thai basil; parsley; mint; dill; coriander; thyme; rosemary; sage; oregano; marjoram; tarragon; bay leaf > bay; curry leaf/curry leaves; fenugreek leaf > fenugreek; methi; makrut lime leaf/makrut lime leaves; lemongrass; ginger; galangal; perilla; epazote; pandan; lavender; rose petal/s; mixed herb/s > herb; wasabi; horseradish
# sauce plant
soy sauce @yg; miso @y; doenjang @y; gochujang @!yg; doubanjiang @!yg; black bean sauce @yg; fermented black bean/s @y; hoisin sauce @ygs; black vinegar @g; rice vinegar; red wine vinegar; sherry vinegar; cider vinegar; mirin; chilli oil @!; harissa @!; zhoug @!; awaze @!; aji amarillo @!; chimichurri; salsa verde; dijon mustard @d; mustard @d; amba @d; tamarind; pomegranate molasses; mango chutney; coconut milk @~; coconut water; vegetable stock @c; mayonnaise @ed~; aioli @ed~; tartare sauce @ed
# animal-sauce dairy
pesto @n
# egg-sauce fish
fish sauce; nuoc cham @!; worcestershire sauce @g; dashi; bonito flake/s
# sea-sauce shellfish
oyster sauce @yg; roasted chilli paste @!; green curry paste @!; red curry paste @!; massaman curry paste
# stock poultry
chicken stock @c
# hidden-meat meat
gelatine; pâté
# sweet plant
sugar; icing sugar; brown sugar; demerara sugar; palm sugar; rock sugar; pearl sugar; maple syrup; rice syrup; treacle; rose water; orange blossom water
# bee honey
honey
# fat plant
olive oil; sunflower oil; dendê oil
# drink plant
white wine @u; red wine @u; dry sherry @u; marsala @u; Shaoxing wine @g; sake; ale @g; rum; bourbon; whisky; aquavit; limoncello
`;
