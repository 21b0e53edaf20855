(() => {
  const bar = document.getElementById('filters');
  const cards = [...document.querySelectorAll('.card')];
  if (!bar || !cards.length) return;
  const selects = [...bar.querySelectorAll('select')], check = bar.elements.check;
  const pause = bar.querySelector('button'), count = bar.querySelector('output'), root = document.documentElement;
  const show = () => {
    let shown = 0;
    for (const card of cards) {
      const fits = selects.every(one => !one.value || one.value === '=' + card.dataset[one.name]) && (!check.checked || 'check' in card.dataset);
      card.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown + ' of ' + cards.length + ' stacks shown';
  };
  let moves = !matchMedia('(prefers-reduced-motion:reduce)').matches;
  const play = () => {
    root.classList.toggle('still', !moves);
    root.classList.toggle('moving', moves);
    pause.textContent = moves ? 'Pause' : 'Play';
  };
  bar.addEventListener('change', show);
  bar.addEventListener('submit', event => event.preventDefault());
  pause.addEventListener('click', () => { moves = !moves; play(); });
  pause.hidden = !document.querySelector('.cine');
  bar.hidden = false;
  show();
  play();
})();
